"""Random fields, and the painting of tissue with partial volume."""

import numpy as np
from scipy import ndimage

from crossmodalnet.phantom.primitives import Field


def occupancy(distance_mm: Field, width_mm: float) -> Field:
    """Share of a voxel of `width_mm` that lies inside a body, from its signed distance; 0 to 1."""
    return np.clip(0.5 - distance_mm * (1 / width_mm), 0, 1)


def paint(image: Field, distance_mm: Field, value: Field | float, width_mm: float) -> None:
    """Lay a body of intensity `value` over `image`, in place."""
    image += (value - image) * occupancy(distance_mm, width_mm)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: tuple[float, ...], scale_mm: float
) -> Field:
    """Gaussian random field of mean 0 and standard deviation about 1 whose grains are about `scale_mm` wide.

    It is drawn on a lattice of half that spacing (never finer than the voxels), and interpolated.
    """
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
    stretched: Field = start + weight * (np.take(field, left + 1, axis) - start)
    return stretched
