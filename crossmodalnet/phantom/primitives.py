"""Compute signed distances (mm, negative inside) of simple bodies, random fields, and partial volume."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.interpolate import CubicSpline

Field = NDArray[np.float64]

FAR_MM = 20.0  # a tube's distance is only computed this near to it; farther points get this value


def ellipsoid(points: Field, centre: ArrayLike, radii: Sequence[float]) -> Field:
    """Approximate the distance `(...)` of points `(d, ...)` to an ellipsoid to first order; d = 2: cylinder."""
    first = np.zeros(points.shape[1:])
    second = np.zeros_like(first)
    for axis, (middle, radius) in enumerate(zip(np.asarray(centre), radii, strict=True)):
        square = (points[axis] - middle) * (1 / radius)
        square *= square
        first += square
        square *= 1 / radius**2
        second += square
    np.sqrt(first, out=first)
    np.sqrt(second, out=second)
    return first * (first - 1) / np.maximum(second, 1e-6)


def half_space(points: Field, point: ArrayLike, normal: ArrayLike) -> Field:
    """Compute the distance to the plane through `point`, negative on the side away from `normal` (any length)."""
    unit = np.asarray(normal, np.float64)
    unit = unit / np.linalg.norm(unit)
    offset = unit @ np.asarray(point, np.float64)
    x, y, z = unit
    return points[0] * x + points[1] * y + points[2] * z - offset


def spline(knots: ArrayLike, num_points: int) -> NDArray[np.float64]:
    """Interpolate a smooth curve `(num_points, d)` through `knots` `(k, d)`, equally spaced in the knots' index."""
    values = np.asarray(knots, np.float64)
    curve = CubicSpline(np.arange(len(values)), values)(np.linspace(0, len(values) - 1, num_points))
    return np.asarray(curve, np.float64)


def tube(points: Field, path: ArrayLike, radii: ArrayLike) -> Field:
    """Compute the distance of `(3, n)` to round cones: `path` `(k, 3)`, `radii` `(k,)`, mm; `FAR_MM` if farther."""
    line, widths = np.asarray(path), np.asarray(radii)
    reach = widths[:, None] + FAR_MM
    low, high = (line - reach).min(axis=0), (line + reach).max(axis=0)
    near = np.ones(points.shape[1], bool)
    for axis in range(3):
        near &= (points[axis] > low[axis]) & (points[axis] < high[axis])
    distance = np.full(points.shape[1], FAR_MM)
    distance[near] = _cones(points[:, near], line, widths)
    return distance


def _cones(points: Field, line: Field, widths: Field) -> Field:
    # With q = a . (p - s) along the axis a, and t the share of it within the segment:
    # |p - s - t a|^2 = |p - s|^2 - t (2 q - t |a|^2). About the middle of the line float32 is enough for it.
    middle = line.mean(axis=0)
    points, line = points - middle[:, None], line - middle
    squared = np.einsum("in,in->n", points, points)
    nearest = np.full(points.shape[1], FAR_MM)
    for start, end, width, end_width in zip(line, line[1:], widths, widths[1:], strict=False):
        axis = end - start
        length2 = axis @ axis
        q = axis @ points
        q -= axis @ start
        t = np.clip(q * (1 / length2), 0, 1)
        q *= 2
        q -= t * length2
        q *= t
        distance = squared - (2 * start) @ points
        distance += start @ start
        distance -= q
        np.sqrt(np.maximum(distance, 0, out=distance), out=distance)
        t *= end_width - width
        distance -= t
        distance -= width
        np.minimum(nearest, distance, out=nearest)
    return nearest


def smooth_union(a: Field, b: Field, blend_mm: float) -> Field:
    """Unite bodies and round the crease over `blend_mm`, adding at most a quarter of that."""
    weight = np.clip(0.5 + (b - a) * (0.5 / blend_mm), 0, 1)
    return b + (a - b) * weight - blend_mm * weight * (1 - weight)


def without(body: Field, *others: Field, gap_mm: float = 0.0) -> Field:
    """Subtract `others` from `body`, keeping `gap_mm` away from them."""
    for other in others:
        body = np.maximum(body, gap_mm - other)
    return body


def paint(image: Field, distance_mm: Field, value: Field | float, width_mm: float) -> None:
    """Paint a body of intensity `value` over `image`, in place, by its share of a voxel of `width_mm`."""
    image += (value - image) * np.clip(0.5 - distance_mm * (1 / width_mm), 0, 1)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: tuple[float, ...], scale_mm: float
) -> Field:
    """Draw a Gaussian random field of mean 0, standard deviation about 1 and grain size about `scale_mm`."""
    factors = [max(1.0, scale_mm / (2 * step)) for step in spacing_mm]
    coarse = tuple(int(np.ceil(n / f)) + 4 for n, f in zip(shape, factors, strict=True))
    noise = rng.standard_normal(coarse, np.float32).astype(np.float64)
    sigma = [max(scale_mm / (2 * step * f), 1e-3) for step, f in zip(spacing_mm, factors, strict=True)]
    noise = ndimage.gaussian_filter(noise, sigma, mode="wrap")
    noise /= noise.std()
    for axis, (n, factor) in enumerate(zip(shape, factors, strict=True)):
        noise = _stretch(noise, axis, n, factor)
    return noise


def _stretch(field: Field, axis: int, num: int, factor: float) -> Field:
    """Interpolate linearly along an axis to `num` samples, `factor` of them per old one."""
    position = 1 + np.arange(num) / factor
    left = position.astype(int)
    weight = (position - left).reshape([-1 if a == axis else 1 for a in range(field.ndim)])
    start = np.take(field, left, axis)
    return start + weight * (np.take(field, left + 1, axis) - start)
