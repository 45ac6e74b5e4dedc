import numpy as np
import pytest

from crossmodalnet.imaging.volume import Grid, Volume

GRID = Grid((10, 12, 14), np.diag([1.0, 2.0, 3.0, 1.0]))


def moved(millimetres: float) -> Grid:
    return Grid(GRID.shape, GRID.affine + np.outer([0, 0, 1, 0], [0, 0, 0, millimetres]))


@pytest.mark.parametrize(("millimetres", "same"), [(0.0, True), (0.099, True), (-0.099, True), (0.101, False)])
def test_grids_are_the_same_within_a_tenth_of_the_smallest_voxel(millimetres: float, same: bool) -> None:
    assert GRID.same_as(moved(millimetres)) is same
    assert moved(millimetres).same_as(GRID) is same


def test_largest_shift_is_that_of_a_corner() -> None:
    # A shear: the corners of the last slice move by 0.101 mm.
    sheared = Grid(GRID.shape, GRID.affine + np.outer([1, 0, 0, 0], [0, 0, 0.101 / 13, 0]))
    assert GRID.largest_shift_mm(sheared) == pytest.approx(0.101)
    assert not GRID.same_as(sheared)


def test_other_shapes_are_different_grids() -> None:
    assert not GRID.same_as(Grid((10, 12, 15), GRID.affine))


def test_around_keeps_voxels_in_place() -> None:
    data = np.random.default_rng(0).normal(size=(12, 10, 8))
    volume = Volume(data, np.array([[-2.0, 0, 0, 20], [0, 0, 3, -5], [0, 1, 0, 7], [0, 0, 0, 1]]))
    low, high = volume.grid.to_world(np.array([[7, 3], [3, 6], [2, 4]])).T
    small = volume.around(low, high)
    assert small.data.shape == (7, 6, 5)  # indices 3..7, 3..6, 2..4 and a voxel around
    point = volume.grid.to_world(np.array([[4], [5], [3]]))
    i, j, k = np.rint(small.grid.to_index(point)[:, 0]).astype(int)
    assert small.data[i, j, k] == data[4, 5, 3]
