import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from crossmodalnet.metrics.surface import assd_mm, hd95_mm, nsd, surface_distances

SPACING = (0.7, 1.3, 2.5)


def brute_force(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of surface voxels; surfaces by erosion instead of contour filters and distance maps."""
    cross = ndimage.generate_binary_structure(3, 1)
    points = [np.argwhere(m & ~ndimage.binary_erosion(m, cross, border_value=0)) * spacing for m in (a, b)]
    matrix = cdist(*points)
    return matrix.min(axis=1), matrix.min(axis=0)


def sphere(radius_mm, centre_mm, spacing) -> np.ndarray:
    grid = np.indices((32, 30, 20)).transpose(1, 2, 3, 0) * spacing
    return np.linalg.norm(grid - centre_mm, axis=-1) <= radius_mm


def assert_equals_brute_force(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float]) -> None:
    found, expected = surface_distances(a, b, spacing), brute_force(a, b, spacing)
    for mine, theirs in zip((found.forward_mm, found.backward_mm), expected, strict=True):
        np.testing.assert_allclose(np.sort(mine), np.sort(theirs), atol=1e-5)
    pooled = np.concatenate(expected)
    assert hd95_mm(found) == pytest.approx(max(np.percentile(d, 95) for d in expected), abs=1e-5)
    assert assd_mm(found) == pytest.approx(pooled.mean(), abs=1e-5)
    for tolerance in (0.05, 1.01, 3.33):
        assert nsd(found, tolerance) == pytest.approx((pooled <= tolerance).mean(), abs=1e-9)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), SPACING], ids=["isotropic", "anisotropic"])
def test_spheres_against_brute_force(spacing: tuple[float, float, float]) -> None:
    centre = np.array([16, 15, 10]) * spacing
    assert_equals_brute_force(sphere(7, centre, spacing), sphere(5, centre + 1.9, spacing), spacing)


@pytest.mark.parametrize("seed", range(5))
def test_ragged_masks_touching_the_border_against_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (ndimage.gaussian_filter(rng.normal(size=(13, 9, 11)), 1.2) > 0.05 for _ in range(2))
    assert_equals_brute_force(a, b, SPACING)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_single_voxels_are_their_distance_apart(axis: int) -> None:
    a = np.zeros((8, 8, 8), bool)
    a[2, 3, 1] = True
    found = surface_distances(a, np.roll(a, 4, axis), SPACING)
    expected = 4 * SPACING[axis]
    assert (hd95_mm(found), assd_mm(found)) == pytest.approx((expected, expected), rel=1e-6)
    assert nsd(found, expected) == 1  # exactly the tolerance is within it
    assert nsd(found, 0.99 * expected) == 0


@pytest.mark.parametrize(("which", "name"), [(0, "prediction"), (1, "truth")])
def test_empty_masks_have_no_surface(which: int, name: str) -> None:
    masks = np.ones((2, 3, 3, 3), bool)
    masks[which] = False
    with pytest.raises(ValueError, match=f"{name} must not be empty"):
        surface_distances(*masks, SPACING)
