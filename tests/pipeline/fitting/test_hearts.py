import numpy as np
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import write_image, write_label_map
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.roi.box import Box
from pipeline.cohort.pairs import Pair, Subject
from pipeline.fitting.hearts import measure_hearts, read_boxes
from pipeline.runtime.workers import RuntimeConfig

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.fixture
def pair(tmp_path):
    """Make a pair whose CT has a heart of so many voxels of 2 mm from the world's origin on."""

    def make(number, role, x, y, z):
        label = np.zeros((40, 40, 40), np.uint8)
        label[:x, :y, :z] = 1
        subjects = []
        for modality in Modality:
            name = f"{modality.value}_{number}"
            image, at = tmp_path / f"{name}.nii.gz", tmp_path / f"{name}_label.nii.gz"
            write_image(image, Volume(label.astype(np.float32), AFFINE))
            write_label_map(at, Volume(label, AFFINE))
            subjects.append(Subject(name, modality, image, at))
        return Pair(*subjects, role)

    return make


def test_the_largest_training_heart_counts_on_each_axis_and_a_test_heart_does_not(pair):
    pairs = [pair(1, "train", 30, 10, 10), pair(2, "validation", 10, 20, 10), pair(3, "test", 40, 40, 40)]
    found = measure_hearts(pairs, {}, 5.0, RuntimeConfig())
    assert found.largest_mm == (60.0, 40.0, 20.0)
    assert found.need_mm == pytest.approx((70.0, 50.0, 30.0))  # 15 % are less than twice the margin
    assert (found.num_hearts, found.num_found, found.spacing_mm) == (2, 0, pytest.approx(2.0))


def test_where_boxes_were_found_the_grid_around_them_holds_the_hearts(pair):
    one, two = pairs = [pair(1, "train", 30, 10, 10), pair(2, "validation", 10, 20, 10)]
    # The heart reaches from -1 to 59, from -1 to 19 and from -1 to 19 mm; the box's middle is 25, 10, 9.
    boxes = {one.name: Box((5.0, 0.0, -1.0), (45.0, 20.0, 19.0))}
    assert measure_hearts(pairs, boxes, 5.0, RuntimeConfig()).num_found == 0
    boxes[two.name] = Box((-1.0, -1.0, -1.0), (19.0, 39.0, 19.0))
    found = measure_hearts(pairs, boxes, 5.0, RuntimeConfig())
    assert found.need_mm == pytest.approx((70.0, 42.0, 22.0))
    assert found.num_found == 2


def test_boxes_are_read_from_the_table_of_stage_crop(tmp_path):
    table = tmp_path / "crop_qc.csv"
    assert read_boxes(table) == {}
    table.write_text("pair,role,box_mm\na+b,train,-1.0 2.0 3.5 : 4.0 5.0 6.0\n", "utf-8")
    assert read_boxes(table) == {"a+b": Box((-1.0, 2.0, 3.5), (4.0, 5.0, 6.0))}
    table.write_text("pair,role\na+b,train\n", "utf-8")
    with pytest.raises(DataError, match="dvc repro -f crop"):
        read_boxes(table)


def test_an_empty_label_map_is_named(pair):
    with pytest.raises(DataError, match=r"ct_1_label\.nii\.gz: the mask of the heart is empty"):
        measure_hearts([pair(1, "train", 0, 0, 0)], {}, 5.0, RuntimeConfig())
