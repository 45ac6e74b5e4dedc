from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.prediction.registered import labels_on_mr
from crossmodalnet.registration.affine_file import write_affine
from crossmodalnet.registration.field_file import write_field
from crossmodalnet.registration.syn import Transform, warp

MR = Grid((44, 40, 30), np.diag([2.5, 2.5, 3.5, 1.0]))


@pytest.fixture
def transform(tmp_path: Path) -> Transform:
    """A turn, a shift, and a bump of 9 mm one way as well as the other."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [12, -8, 20], degrees=True).as_matrix() * 1.1
    matrix[:3, 3] = [14, -10, 6]
    write_affine(matrix, tmp_path / "syn0GenericAffine.mat")
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    points = np.moveaxis(np.indices((30, 30, 30)) * 4.0, 0, -1)
    bump = 9 * np.exp(-(((points - 55) / 20) ** 2).sum(axis=-1, keepdims=True)) * np.array([1, -0.5, 0.7])
    write_field(tmp_path / "syn1Warp.nii.gz", bump, affine)
    write_field(tmp_path / "syn1InverseWarp.nii.gz", -bump, affine)
    return Transform(tmp_path / "syn0GenericAffine.mat", tmp_path / "syn1Warp.nii.gz")


def _labels(*boxes: tuple[slice, slice, slice]) -> Volume:
    data = np.zeros((60, 60, 50), np.uint8)
    for value, box in enumerate(boxes, 1):
        data[box] = value
    return Volume(data, np.diag([2.0, 2.0, 2.0, 1.0]))


@pytest.mark.parametrize(
    "boxes",
    [
        ((slice(20, 35), slice(22, 40), slice(18, 30)), (slice(30, 42), slice(18, 30), slice(20, 33))),
        ((slice(0, 60), slice(0, 12), slice(0, 50)), (slice(50, 60), slice(0, 60), slice(40, 50))),
        ((slice(30, 31), slice(30, 31), slice(25, 26)), (slice(31, 32), slice(30, 31), slice(25, 26))),
    ],
    ids=["within", "to the borders", "two voxels"],
)
def test_labels_go_back_as_ants_takes_the_whole_map(
    boxes: tuple[tuple[slice, slice, slice], ...], transform: Transform
) -> None:
    labels = _labels(*boxes)
    whole = warp(labels, MR, transform.inverse_files, "nearest", inverted=True).data
    found = labels_on_mr(labels, MR, transform)
    assert 0 < np.count_nonzero(whole) < whole.size
    np.testing.assert_array_equal(found.data, whole)
    np.testing.assert_array_equal(found.affine, MR.affine)
    assert found.data.dtype == np.uint8


def test_labels_that_the_mr_does_not_show_leave_it_empty(transform: Transform) -> None:
    far = Grid(MR.shape, np.array([[2.5, 0, 0, 400], [0, 2.5, 0, 0], [0, 0, 3.5, 0], [0, 0, 0, 1]]))
    labels = _labels((slice(20, 35), slice(22, 40), slice(18, 30)))
    assert not labels_on_mr(labels, far, transform).data.any()
    assert not labels_on_mr(_labels(), MR, transform).data.any()
