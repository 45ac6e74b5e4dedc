"""Compute the vessels of the mean anatomy as signed distances, at points `(3, n)` in mm."""

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.phantom.primitives import Field, half_space, smooth_union, spline, tube
from crossmodalnet.phantom.shape import (
    AORTIC,
    INTO_AORTA,
    INTO_PULMONARY,
    INTO_RV,
    LA_CENTRE,
    LV_CENTRE_W,
    LV_HALF_LENGTH_MM,
    PULMONARY,
    RA_CENTRE,
    TRICUSPID,
    Sizes,
    epicardial_radius,
    long_axis,
    vector,
)

# The aorta's centre line and radius, mm, from the root, and the share of `Sizes.arch_mm` that moves each point.
_AORTA: tuple[tuple[tuple[float, float, float], float, float], ...] = (
    ((-12, -1, 16), 13, 0), ((-3, 2, 30), 16, 0), ((8, 3, 43), 14, 0.5), ((13, -1, 54), 14, 1),
    ((8, -11, 63), 13.5, 1), ((-4, -26, 66), 12.5, 1), ((-15, -43, 61), 11.5, 0.5), ((-21, -58, 47), 11, 0),
    ((-22, -67, 25), 11, 0), ((-22, -70, 0), 11, 0), ((-19, -71, -50), 10.5, 0), ((-12, -72, -130), 10, 0),
)  # fmt: skip
_STEPS = 3  # points of the centre line per knot
_ARCH_END = 5 * _STEPS + 2  # just behind the top


def aorta(points: Field, sizes: Sizes) -> Field:
    """Compute the labelled part of the aorta: root, ascending aorta and arch."""
    path, radii = _aorta_path(sizes)
    beyond = half_space(points, path[_ARCH_END], path[_ARCH_END + 1] - path[_ARCH_END - 1])
    body = tube(points, path[: _ARCH_END + 2], radii[: _ARCH_END + 2])
    begin = -half_space(points, AORTIC, INTO_AORTA)
    return np.maximum(np.maximum(body, beyond), begin)


def pulmonary(points: Field, sizes: Sizes) -> tuple[Field, Field]:
    """Compute the trunk with the beginnings of its branches (labelled), and the rest of the branches (not)."""
    shift, size = np.asarray(sizes.trunk_mm), sizes.pulmonary
    fork = vector(-17, -6, 52) + shift
    trunk = [PULMONARY - 4 * INTO_PULMONARY, PULMONARY + 8 * INTO_PULMONARY, vector(-19, 6, 51) + shift, fork]
    near = [vector(-2, -17, 48) + 0.7 * shift, vector(-26, -19, 53) + 0.7 * shift]
    right = [fork, near[0], vector(18, -23, 45), vector(40, -27, 40), vector(62, -34, 28)]
    left = [fork, near[1], vector(-40, -33, 50), vector(-55, -44, 38), vector(-66, -52, 20)]
    narrowing = size * np.linspace(10.5, 6.5, 12)
    branches = np.minimum(*(tube(points, spline(path, 12), narrowing) for path in (right, left)))
    body = tube(points, spline(trunk, 8), size * np.array([12, 12.5, 13, 13, 13, 13, 12.5, 12]))
    whole = smooth_union(body, branches, 5)
    right_end = half_space(points, vector(32, -25, 42), vector(1, -0.15, -0.25))
    left_end = half_space(points, vector(-41, -33, 49), vector(-0.75, -0.6, -0.28))
    ends = np.maximum(right_end, left_end)
    begin = -half_space(points, PULMONARY, INTO_PULMONARY)
    return np.maximum(np.maximum(whole, ends), begin), np.maximum(whole, -ends)


def pulmonary_veins(points: Field, sizes: Sizes) -> Field:
    """Compute four stubs that enter the LA; not labelled."""
    centre = LA_CENTRE + sizes.la_mm
    stubs = [((20, -3, 9), (66, -42, 30)), ((21, -7, -7), (64, -56, -18))]
    stubs += [((-19, -2, 11), (-66, -50, 30)), ((-21, -7, -5), (-64, -60, -14))]
    veins = []
    for offset, end in stubs:
        mouth, lung = centre + vector(*offset), vector(*end)
        path = [mouth, (mouth + lung) / 2 + vector(0, 0, 1), lung]
        veins.append(tube(points, path, sizes.veins * np.array([7.5, 7, 5])))
    return np.minimum.reduce(veins)


def coronaries(points: Field, sizes: Sizes) -> Field:
    """Compute the anterior descending and right coronary arteries; not labelled."""
    half_length = LV_HALF_LENGTH_MM * sizes.lv_length
    depth = np.linspace(4, LV_CENTRE_W + 0.85 * half_length, 10)
    radius = 2.5 + epicardial_radius(sizes) * np.sqrt(1 - ((depth - LV_CENTRE_W) / (half_length + 7)) ** 2)
    groove = [long_axis(0.12 * r, 0.99 * r, w) for r, w in zip(radius, depth, strict=True)]
    up = vector(0, 0, 1) - INTO_RV[2] * INTO_RV
    up /= np.linalg.norm(up)
    angles = np.linspace(-0.3, 2.9, 12)[:, None]
    ring = TRICUSPID + 26 * (np.cos(angles) * up + np.sin(angles) * np.cross(INTO_RV, up))
    descending = tube(points, groove, np.linspace(2.2, 1.3, 10))
    return np.minimum(descending, tube(points, ring, np.linspace(2.2, 1.6, 12)))


def long_vessels(points: Field, sizes: Sizes) -> dict[str, Field]:
    """Compute the unlabelled vessels that leave the heart's box, starting within the arch and the RA."""
    path, radii = _aorta_path(sizes)
    shift = np.asarray(sizes.arch_mm)
    ways = [
        ((6, -13, 62), (20, -8, 130), 6.0),
        ((-3, -24, 64), (-8, -22, 130), 4.0),
        ((-10, -34, 62), (-26, -36, 130), 4.5),
    ]
    branches = [tube(points, [vector(*a) + shift, vector(*b) + shift], [r, r]) for a, b, r in ways]
    ra = RA_CENTRE + sizes.ra_mm
    upper = [ra + vector(-2, -4, 12), vector(33, -7, 40), vector(29, -7, 75), vector(27, -2, 130)]
    lower = [ra + vector(-4, -6, -14), vector(30, -16, -42), vector(26, -24, -70), vector(20, -34, -130)]
    return {
        "descending_aorta": tube(points, path[_ARCH_END - 2 :], radii[_ARCH_END - 2 :]),
        "arch_branches": np.minimum.reduce(branches),
        "svc": tube(points, spline(upper, 8), np.full(8, 9.5 * sizes.veins)),
        "ivc": tube(points, spline(lower, 8), np.full(8, 12.0 * sizes.veins)),
    }


def _aorta_path(sizes: Sizes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the centre line `(k, 3)` and radii `(k,)` of the whole aorta, mm."""
    num_points = (len(_AORTA) - 1) * _STEPS + 1
    knots = [np.asarray(point) + share * np.asarray(sizes.arch_mm) for point, _, share in _AORTA]
    radii = spline([[radius] for _, radius, _ in _AORTA], num_points)[:, 0]
    return spline(knots, num_points), sizes.aorta * radii
