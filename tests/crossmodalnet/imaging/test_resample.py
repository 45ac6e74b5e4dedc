import numpy as np
import pytest
from scipy import ndimage

from crossmodalnet.imaging.geometry import WORLD, reoriented
from crossmodalnet.imaging.resample import coarse_grid, coarsen, resample, sample_image, sample_labels, to_sitk
from crossmodalnet.imaging.volume import Grid, Volume

OBLIQUE = np.array([[0.0, -1.9, 0.3, 40.0], [1.4, 0.1, 0.4, -20.0], [-0.1, 0.3, 2.9, 7.0], [0, 0, 0, 1]])
# Axes to the patient's left, feet and front.
LIA = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def orthogonal(affine: np.ndarray) -> np.ndarray:
    u, _, v = np.linalg.svd(affine[:3, :3])
    result = affine.copy()
    result[:3, :3] = (u @ v) * [1.5, 2.0, 3.0]
    return result


def test_to_sitk_keeps_voxels_in_place() -> None:
    volume = Volume(np.random.default_rng(0).random((4, 5, 6)), orthogonal(OBLIQUE))
    image = to_sitk(volume)
    x, y, z = volume.grid.to_world(np.array([[3], [1], [2]]))[:, 0]
    assert image[3, 1, 2] == volume.data[3, 1, 2]
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((3, 1, 2)), [-x, -y, z], atol=1e-9)


def test_linear_field_is_reproduced(ramp) -> None:
    source = Grid((30, 24, 20), orthogonal(OBLIQUE))
    middle = source.to_world(np.array([[14.5], [11.5], [9.5]]))[:, 0]
    affine = np.diag([-1.1, 1.3, -0.9, 1.0])
    affine[:3, 3] = middle - affine[:3, :3] @ [3, 3, 3]
    target = Grid((7, 7, 7), affine)
    moved = resample(Volume(ramp(source), source.affine), target, "linear", fill=np.nan)
    np.testing.assert_allclose(moved.data, ramp(target), atol=1e-4)


def test_same_grid_returns_the_same_data() -> None:
    volume = Volume(np.random.default_rng(1).random((3, 4, 5)), np.eye(4))
    assert resample(volume, volume.grid, "linear").data is volume.data


def test_coarse_grid_keeps_centre_axes_and_field_of_view() -> None:
    affine = np.array([[0, 1.5, 0, 10], [-2, 0, 0, 20], [0, 0, 3.0, 5], [0, 0, 0, 1]])
    coarse = coarse_grid(Grid((30, 20, 10), affine), 6.0)
    assert coarse.shape == (10, 5, 5)
    middle = (np.array([[29, 19, 9]]).T / 2, np.array([[9, 4, 4]]).T / 2)
    np.testing.assert_allclose(coarse.to_world(middle[1]), Grid((30, 20, 10), affine).to_world(middle[0]))
    np.testing.assert_allclose(coarse.affine[:3, :3], [[0, 6, 0], [-6, 0, 0], [0, 0, 6]], atol=1e-12)


def test_fine_stripes_are_averaged() -> None:
    stripes = Volume(((-1.0) ** np.indices((33, 33, 33))[0]).astype(np.float32), np.eye(4))
    coarse = coarse_grid(stripes.grid, 3.0)
    assert np.abs(resample(stripes, coarse, "linear").data[2:-2]).max() > 0.9  # aliased
    assert np.abs(coarsen(stripes, 3.0).data[2:-2]).max() < 0.1


def test_ramp_is_preserved(ramp) -> None:
    coarse = coarsen(Volume(ramp(Grid((24, 24, 24), np.eye(4))), np.eye(4)), 3.0)
    inside = np.s_[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(coarse.data[inside], ramp(coarse.grid)[inside], atol=1e-4)


@pytest.mark.parametrize("spacing_mm", [2.0, 3.0, 4.0])
def test_labels_keep_their_volume(spacing_mm: float) -> None:
    points = np.indices((48, 48, 48)) - np.array([23.1, 22.6, 24.3]).reshape(3, 1, 1, 1)
    radius = np.linalg.norm(points, axis=0)
    labels = Volume(((radius < 20).astype(np.uint8) + (radius < 12)).astype(np.uint8), np.eye(4))
    coarse = sample_labels(labels, coarse_grid(labels.grid, spacing_mm))
    for least, true_radius in ((2, 12), (1, 20)):
        volume = (coarse.data >= least).sum() * spacing_mm**3
        assert volume == pytest.approx(4 / 3 * np.pi * true_radius**3, rel=0.04)


@pytest.mark.parametrize("spacing_mm", [0.7, 2.0, 5.0])
@pytest.mark.parametrize("seed", range(6))
def test_labels_take_the_class_of_the_largest_share(spacing_mm: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = np.zeros((21, 26, 30), np.uint8)
    low = [rng.integers(0, n - 1) for n in data.shape]
    high = [rng.integers(a + 1, n + 1) for a, n in zip(low, data.shape, strict=True)]
    data[tuple(map(slice, low, high))] = rng.integers(0, 5, np.subtract(high, low))
    labels = Volume(data, np.diag([0.5, -0.8, 1.1, 1.0]))
    grid = coarse_grid(reoriented(labels, WORLD).grid, spacing_mm)
    classes = [Volume((data == index).astype(np.float32), labels.affine) for index in range(5)]
    shares = [sample_image(volume, grid, float(index == 0)).data for index, volume in enumerate(classes)]
    np.testing.assert_array_equal(sample_labels(labels, grid).data, np.argmax(shares, axis=0))


def test_outside_is_fill_and_background() -> None:
    far = Grid((4, 4, 4), np.array([[3.0, 0, 0, 500], [0, 3, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]))
    volume = Volume(np.ones((8, 8, 8), np.uint8), np.eye(4))
    assert (resample(volume, far, "nearest", fill=5).data == 5).all()
    assert (sample_image(volume, far, -7.0).data == -7).all()
    assert not sample_labels(volume, far).data.any()


@pytest.mark.parametrize("native_mm", [1.0, 0.4])
def test_part_of_a_grid_gives_the_same_samples(native_mm: float) -> None:
    shape = [round(n / native_mm) for n in (40, 36, 30)]
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    volume = Volume(data, np.diag([native_mm, native_mm, native_mm, 1.0]))
    whole = coarsen(volume, 2.5)
    affine = whole.affine.copy()
    affine[:3, 3] = whole.grid.to_world(np.array([[5], [4], [3]]))[:, 0]
    part = sample_image(volume, Grid((6, 5, 4), affine), 0.0)
    np.testing.assert_allclose(part.data, whole.data[5:11, 4:9, 3:7], atol=1e-5)


def test_bins_approximate_a_gaussian() -> None:
    affine = np.array([[0, 0.5, 0, -20], [-0.5, 0, 0, 22], [0, 0, 0.8, -21], [0, 0, 0, 1.0]])
    fine = Grid((83, 79, 53), affine)
    points = fine.to_world(np.indices(fine.shape).reshape(3, -1))
    noise = np.random.default_rng(0).normal(0, 0.2, fine.shape)
    image = (np.linalg.norm(points, axis=0) < 13).reshape(fine.shape) + noise
    volume = Volume(image.astype(np.float32), affine)
    found = coarsen(volume, 4.0)
    sigma = [np.sqrt((4.0**2 - spacing**2) / 12) / spacing for spacing in fine.spacing_mm]
    smooth = ndimage.gaussian_filter(volume.data, sigma, mode="nearest")
    expected = resample(Volume(smooth, affine), found.grid, "linear", float(image.min())).data
    np.testing.assert_allclose(found.data, expected, atol=0.1)
    assert np.abs(found.data - expected).mean() < 0.012


def test_axis_order_does_not_change_samples() -> None:
    """Its voxels do not fill the last bin of an axis, so which end is the first would matter."""
    data = np.random.default_rng(0).normal(size=(43, 38, 29)).astype(np.float32)
    volume = Volume(data, np.diag([0.5, 0.5, 0.75, 1.0]))
    labels = Volume((data > 0).astype(np.uint8) + (data > 1), volume.affine)
    turned, turned_labels = (reoriented(v, Grid((1, 1, 1), LIA)) for v in (volume, labels))
    assert not np.array_equal(turned.affine, volume.affine)
    whole, other = coarsen(volume, 4.0), coarsen(turned, 4.0)
    np.testing.assert_array_equal(other.affine, whole.affine)
    np.testing.assert_array_equal(other.data, whole.data)
    found, expected = (sample_labels(v, whole.grid).data for v in (turned_labels, labels))
    np.testing.assert_array_equal(found, expected)
