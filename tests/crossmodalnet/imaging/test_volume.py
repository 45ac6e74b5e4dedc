import numpy as np
import pytest

from crossmodalnet.imaging.volume import Grid

GRID = Grid((10, 12, 14), np.diag([1.0, 2.0, 3.0, 1.0]))


def moved(millimetres: float) -> Grid:
    affine = GRID.affine.copy()
    affine[2, 3] = millimetres
    return Grid(GRID.shape, affine)


@pytest.mark.parametrize(
    ("millimetres", "same"), [(0.0, True), (0.099, True), (-0.099, True), (0.101, False)]
)
def test_grids_are_the_same_within_a_tenth_of_the_smallest_voxel(millimetres: float, same: bool) -> None:
    assert GRID.same_as(moved(millimetres)) is same
    assert moved(millimetres).same_as(GRID) is same


def test_a_turn_counts_by_the_corner_that_it_moves_most() -> None:
    affine = GRID.affine.copy()
    affine[0, 2] = 0.101 / 13  # a shear: the corners of the last slice move by 0.101 mm
    assert GRID.largest_shift_mm(Grid(GRID.shape, affine)) == pytest.approx(0.101)
    assert not GRID.same_as(Grid(GRID.shape, affine))


def test_other_shapes_are_other_grids() -> None:
    assert not GRID.same_as(Grid((10, 12, 15), GRID.affine))
