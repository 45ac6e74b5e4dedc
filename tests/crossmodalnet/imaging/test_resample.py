import numpy as np

from crossmodalnet.imaging.resample import from_sitk, resample, to_sitk
from crossmodalnet.imaging.volume import Grid, Volume

OBLIQUE = np.array([[0.0, -1.9, 0.3, 40.0], [1.4, 0.1, 0.4, -20.0], [-0.1, 0.3, 2.9, 7.0], [0, 0, 0, 1]])


def orthogonal(affine: np.ndarray) -> np.ndarray:
    u, _, v = np.linalg.svd(affine[:3, :3])
    result = affine.copy()
    result[:3, :3] = (u @ v) * [1.5, 2.0, 3.0]
    return result


def ramp(grid: Grid) -> np.ndarray:
    """The world coordinate x + 2y - z at every voxel: linear, so linear interpolation must reproduce it."""
    indices = np.indices(grid.shape).reshape(3, -1)
    return (np.array([1, 2, -1]) @ grid.to_world(indices)).reshape(grid.shape)


def test_sitk_there_and_back() -> None:
    volume = Volume(np.random.default_rng(0).random((4, 5, 6)), orthogonal(OBLIQUE))
    back = from_sitk(to_sitk(volume))
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-9)


def test_a_linear_field_is_reproduced_across_orientations() -> None:
    source = Grid((30, 24, 20), orthogonal(OBLIQUE))
    middle = source.to_world(np.array([[14.5], [11.5], [9.5]]))[:, 0]
    affine = np.diag([-1.1, 1.3, -0.9, 1.0])
    affine[:3, 3] = middle - affine[:3, :3] @ [3, 3, 3]
    target = Grid((7, 7, 7), affine)
    moved = resample(Volume(ramp(source), source.affine), target, "linear", fill=np.nan)
    np.testing.assert_allclose(moved.data, ramp(target), atol=1e-4)


def test_outside_is_filled() -> None:
    far = np.eye(4)
    far[:3, 3] = 1000
    moved = resample(Volume(np.ones((3, 3, 3)), np.eye(4)), Grid((2, 2, 2), far), "nearest", fill=-5)
    assert np.all(moved.data == -5)


def test_the_same_grid_changes_nothing() -> None:
    volume = Volume(np.random.default_rng(1).random((3, 4, 5)), np.eye(4))
    assert resample(volume, volume.grid, "linear").data is volume.data
