import json
from pathlib import Path

import numpy as np
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import read_label_map, write_label_map
from crossmodalnet.imaging.volume import Grid, Volume
from pipeline.preparation.cases import CroppedCase, write_cropped
from pipeline.preparation.domain import read_labelled_names
from pipeline.preparation.target import write_target_labels

NATIVE = Grid((8, 8, 8), np.diag([1.0, 1, 1, 1]))


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """One case of 2 mm whose four voxels an edge lie over the native ones."""
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = 0.5
    image = Volume(np.ones((4, 4, 4), np.float32), affine)
    write_cropped(tmp_path / "cases/a", CroppedCase("a", image, None, None, NATIVE))
    return tmp_path / "cases"


def write_native(path: Path, affine: np.ndarray | None = None, value: int = 3) -> Path:
    data = np.zeros((8, 8, 8), np.uint8)
    data[2:4, 4:8, 0:2] = value
    write_label_map(path, Volume(data, NATIVE.affine if affine is None else affine))
    return path


def test_a_label_map_lies_on_both_grids(cases: Path, tmp_path: Path) -> None:
    path = write_native(tmp_path / "native.nii.gz")
    (tmp_path / "labels").mkdir()
    write_target_labels(tmp_path / "labels", cases, {"a": path})
    working = read_label_map(tmp_path / "labels/a/label.nii.gz")
    expected = np.zeros((4, 4, 4), np.uint8)
    expected[1, 2:4, 0] = 3
    np.testing.assert_array_equal(working.data, expected)
    np.testing.assert_array_equal(
        read_label_map(tmp_path / "labels/a/native.nii.gz").data, read_label_map(path).data
    )
    assert read_labelled_names(tmp_path / "labels") == ["a"]


def test_no_labels_are_an_empty_list(tmp_path: Path) -> None:
    write_target_labels(tmp_path, tmp_path, {})
    assert json.loads((tmp_path / "cases.json").read_text("utf-8")) == read_labelled_names(tmp_path) == []


def test_a_folder_without_a_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not list target labels .*dvc repro target"):
        read_labelled_names(tmp_path)


def test_labels_that_cannot_be_used_name_case_and_file(cases: Path, tmp_path: Path) -> None:
    elsewhere = write_native(tmp_path / "elsewhere.nii.gz", affine=np.diag([1.0, 1, 2, 1]))
    empty = write_native(tmp_path / "empty.nii.gz", value=0)
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no image")
    for path, message in (
        (elsewhere, "another grid"),
        (empty, "labels no voxel"),
        (broken, "cannot be read"),
    ):
        with pytest.raises(DataError, match=rf"a: .*{path.name}.*{message}"):
            write_target_labels(tmp_path / "labels", cases, {"a": path})
