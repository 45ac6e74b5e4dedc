import numpy as np

from crossmodalnet.imaging.volume import Volume
from pipeline.report.charts.slices import best_slices, heart_box, slice_grid


def test_heart_box_is_in_world_millimetres() -> None:
    label = np.zeros((10, 10, 10), np.uint8)
    label[2:5, 3, 4] = 1
    low, high = heart_box(Volume(label, np.diag([-2.0, 1.0, 3.0, 1.0])), 1.5)
    np.testing.assert_allclose(low, [-9.5, 1.5, 10.5])
    np.testing.assert_allclose(high, [-2.5, 4.5, 13.5])


def test_heart_box_of_an_empty_label_is_everything() -> None:
    low, high = heart_box(Volume(np.zeros((3, 4, 5), np.uint8), np.eye(4)), 0.0)
    assert [*low, *high] == [0, 0, 0, 2, 3, 4]


def test_best_slice_shows_most_structures_rather_than_most_voxels() -> None:
    label = np.zeros((20, 20, 20), np.uint8)
    label[2:18, 2:18, 4] = 1
    label[4, 4, 10], label[14, 14, 10] = 2, 3
    chosen = best_slices(Volume(label, np.diag([2.0, 2.0, 2.0, 1.0])), np.zeros(3), np.full(3, 38.0))
    assert chosen[2] == 20.0


def test_slice_lies_across_its_axis() -> None:
    grid = slice_grid(np.array([1.0, 2, 3]), np.array([9.0, 8, 7]), 1, 5.0, 0.5)
    assert grid.shape == (16, 1, 8)
    assert grid.affine[:3, 3].tolist() == [1, 5, 3]
