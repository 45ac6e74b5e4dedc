from pathlib import Path

import numpy as np
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import write_image, write_label_map
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from pipeline.config.sections import CropConfig
from pipeline.preparation.cases import read_cropped
from pipeline.preparation.cropping import CropTask, crop_case, read_atlas

PARAMS = CropConfig(roi="labels", margin_mm=0.0, spacing_mm=2.0, size=(8, 8, 8))


@pytest.fixture
def task(tmp_path: Path) -> CropTask:
    """A registered pair of 2 mm voxels: the CT's heart fills voxels 4 to 7, the MR's 1 to 9, 3 to 5 and 6 to 8."""
    affine, shape = np.diag([2.0, 2.0, 2.0, 1.0]), (12, 12, 12)
    images = {modality: tmp_path / f"{modality.value}.nii.gz" for modality in Modality}
    labels = {modality: tmp_path / f"{modality.value}_label.nii.gz" for modality in Modality}
    hearts = {Modality.CT: (3, np.s_[4:8, 4:8, 4:8]), Modality.MR: (5, np.s_[1:10, 3:6, 6:9])}
    for modality, (value, part) in hearts.items():
        label = np.zeros(shape, np.uint8)
        label[part] = value
        write_image(images[modality], Volume(np.ones(shape, np.float32), affine))
        write_label_map(labels[modality], Volume(label, affine))
    return CropTask("p", images, labels, (), PARAMS, tmp_path / "cropped")


def test_the_label_of_the_mr_is_cut_along_and_does_not_move_the_box(task: CropTask) -> None:
    crop_case(task)
    case = read_cropped(task.target)
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


def test_an_atlas_is_read_once_but_again_when_other_data_lie_under_its_name(task: CropTask) -> None:
    files = task.images[Modality.CT], task.labels[Modality.CT]
    first = read_atlas(files, Modality.CT, 2.0)
    assert read_atlas(files, Modality.CT, 2.0) is first
    write_label_map(files[1], Volume(np.ones((12, 12, 12), np.uint8), np.diag([2.0, 2.0, 2.0, 1.0])))
    assert read_atlas(files, Modality.CT, 2.0).heart.data.sum() > 4 * first.heart.data.sum()
