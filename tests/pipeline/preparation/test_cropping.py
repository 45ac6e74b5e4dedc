from pathlib import Path

import numpy as np
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import write_image, write_label_map
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from pipeline.config.sections import CropConfig
from pipeline.preparation.cases import read_cropped
from pipeline.preparation.cropping import AtlasFiles, CropTask, crop_case, read_atlas

PARAMS = CropConfig(roi="labels", margin_mm=0.0, spacing_mm=2.0, size=(8, 8, 8))


@pytest.fixture
def task(tmp_path: Path) -> CropTask:
    """A registered pair of 2 mm voxels: the CT's heart fills voxels 4 to 7, the MR's 1 to 9, 3 to 5 and 6 to 8."""
    affine, shape = np.diag([2.0, 2.0, 2.0, 1.0]), (12, 12, 12)
    ct_label, mr_label = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    ct_label[4:8, 4:8, 4:8] = 3
    mr_label[1:10, 3:6, 6:9] = 5
    folder = tmp_path / "registered"
    for name in ("ct", "mr"):
        write_image(folder / f"{name}.nii.gz", Volume(np.ones(shape, np.float32), affine))
    write_label_map(folder / "ct_label.nii.gz", Volume(ct_label, affine))
    write_label_map(folder / "mr_label.nii.gz", Volume(mr_label, affine))
    images = {modality: folder / f"{modality.value}.nii.gz" for modality in Modality}
    labels = {modality: folder / f"{modality.value}_label.nii.gz" for modality in Modality}
    return CropTask("p", images, labels, (), PARAMS, tmp_path / "cropped")


def test_the_label_of_the_mr_is_cut_along_and_does_not_move_the_box(task: CropTask) -> None:
    crop_case(task)
    case = read_cropped(task.target)
    assert case.label is not None
    assert case.mr_label is not None
    # The middle of the CT's heart is voxel 5.5, so that the grid of eight voxels holds 2 to 9.
    assert case.label.affine[:3, 3].tolist() == [4.0, 4.0, 4.0]
    expected = np.zeros((8, 8, 8), np.uint8)
    expected[0:8, 1:4, 4:7] = 5
    np.testing.assert_array_equal(case.mr_label.data, expected)
    assert np.argwhere(case.label.data).min(axis=0).tolist() == [2, 2, 2]


def test_a_pair_without_the_label_of_its_mr_is_an_error(task: CropTask) -> None:
    task.labels[Modality.MR].unlink()
    with pytest.raises(DataError, match=r"p: .*mr_label\.nii\.gz"):
        crop_case(task)


def write_atlas(folder: Path, side: int) -> AtlasFiles:
    """Write a labelled subject whose heart is a cube of `side` voxels."""
    label = np.zeros((16, 16, 16), np.uint8)
    label[:side, :side, :side] = 1
    image = np.random.default_rng(side).normal(size=label.shape).astype(np.float32)
    files = folder / "ct.nii.gz", folder / "ct_label.nii.gz"
    write_image(files[0], Volume(image, np.eye(4)))
    write_label_map(files[1], Volume(label, np.eye(4)))
    return files


def test_an_atlas_is_read_once_but_again_when_other_data_lie_under_its_name(tmp_path: Path) -> None:
    """A worker of a cluster outlives a run, and the next one's data may lie at the same place."""
    files = write_atlas(tmp_path, 4)
    first = read_atlas(files, Modality.CT, 2.0)
    assert read_atlas(files, Modality.CT, 2.0) is first
    second = read_atlas(write_atlas(tmp_path, 8), Modality.CT, 2.0)
    assert second.heart.data.sum() > 4 * first.heart.data.sum()
