import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.intensity import Intensity
from crossmodalnet.imaging.volume import Grid, Volume
from pipeline.preparation.cases import CroppedCase, read_cropped, write_cropped
from pipeline.preparation.tensors import blind, labelled

INTENSITY = Intensity((-3.0, 3.0), (1.0, 99.0))


@pytest.fixture
def case() -> CroppedCase:
    """Random images and labels; the native grid is oblique, with numbers that decimal digits do not hold."""
    random = np.random.default_rng(0)
    ct, mr = (Volume(random.normal(size=(4, 5, 6)).astype(np.float32), np.diag([3.0, 3, 3, 1])) for _ in "ab")
    label, mr_label = (Volume(random.integers(0, 8, (4, 5, 6), np.uint8), ct.affine) for _ in "ab")
    native = Grid((7, 8, 9), np.vstack([random.normal(size=(3, 4)) / 3, [0, 0, 0, 1]]))
    return CroppedCase("ct_1+mr_2", ct, mr, label, native, mr_label)


def test_a_case_comes_back_bit_for_bit(case: CroppedCase, tmp_path: Path) -> None:
    write_cropped(tmp_path / "case", case)
    back = read_cropped(tmp_path / "case")
    for name in ("ct", "mr", "label", "mr_label"):
        a, b = getattr(case, name), getattr(back, name)
        assert a is not None
        assert b is not None
        np.testing.assert_array_equal(a.data, b.data)
        np.testing.assert_array_equal(a.affine, b.affine)
    assert (back.name, back.native.shape) == ("ct_1+mr_2", (7, 8, 9))
    np.testing.assert_array_equal(back.native.affine, case.native.affine)


def test_a_pair_without_the_label_of_its_mr_says_so_in_its_record(case: CroppedCase, tmp_path: Path) -> None:
    write_cropped(tmp_path / "case", replace(case, mr_label=None))
    assert json.loads((tmp_path / "case/crop.json").read_text("utf-8"))["files"] == ["ct", "mr", "label"]
    back = read_cropped(tmp_path / "case")
    assert back.mr_label is None
    assert back.label is not None
    assert labelled(back, INTENSITY).mr_label is None


@pytest.mark.parametrize("name", ["mr", "mr_label"])
def test_a_missing_file_names_the_folder_and_the_stage(case: CroppedCase, tmp_path: Path, name: str) -> None:
    write_cropped(tmp_path / "case", case)
    (tmp_path / f"case/{name}.nii.gz").unlink()
    with pytest.raises(DataError, match=rf"case does not hold a cropped case .*{name}.nii.gz.*repro crop"):
        read_cropped(tmp_path / "case")


def test_an_image_alone_comes_back_without_the_other_and_without_label(
    case: CroppedCase, tmp_path: Path
) -> None:
    assert case.mr is not None
    write_cropped(tmp_path / "mr", CroppedCase("mr_2", None, case.mr, None, case.native))
    assert sorted(path.name for path in (tmp_path / "mr").iterdir()) == ["crop.json", "mr.nii.gz"]
    back = read_cropped(tmp_path / "mr")
    assert back.ct is None
    assert back.label is None
    assert back.mr is not None
    np.testing.assert_array_equal(back.mr.data, case.mr.data)
    assert back.grid.same_as(case.grid)


def test_a_lost_image_of_a_single_one_is_an_error(case: CroppedCase, tmp_path: Path) -> None:
    write_cropped(tmp_path / "mr", CroppedCase("mr_2", None, case.mr, None, case.native))
    (tmp_path / "mr/mr.nii.gz").unlink()
    with pytest.raises(DataError, match="does not hold a cropped case"):
        read_cropped(tmp_path / "mr")


def test_a_case_needs_an_image(case: CroppedCase) -> None:
    with pytest.raises(ValueError, match="ct or mr of x must be an image"):
        CroppedCase("x", None, None, case.label, case.native)


def test_without_a_label_a_case_is_blind_only(case: CroppedCase) -> None:
    unlabelled = replace(case, label=None)
    with pytest.raises(DataError, match=r"ct_1\+mr_2: the crop has no label map"):
        labelled(unlabelled, INTENSITY)
    seen, unseen = labelled(case, INTENSITY), blind(unlabelled, INTENSITY)
    assert (unseen.image == seen.image).all()
    assert unseen.label.shape == seen.label.shape
    assert unseen.label.dtype == seen.label.dtype


def test_blind_does_not_look_at_the_labels(case: CroppedCase) -> None:
    assert case.label is not None
    assert case.label.data.any()
    unseen = blind(case, INTENSITY)
    assert not unseen.label.any()
    assert unseen.mr_label is None


def test_each_image_of_a_pair_has_its_own_label(case: CroppedCase) -> None:
    assert case.label is not None
    assert case.mr_label is not None
    seen = labelled(case, INTENSITY)
    assert seen.mr_label is not None
    np.testing.assert_array_equal(seen.label, case.label.data)
    np.testing.assert_array_equal(seen.mr_label, case.mr_label.data)
    assert seen.mr_label.dtype == seen.label.dtype


def test_a_label_map_of_the_mr_that_misses_the_crop_names_the_case(case: CroppedCase) -> None:
    empty = Volume(np.zeros((4, 5, 6), np.uint8), np.eye(4))
    with pytest.raises(DataError, match=r"ct_1\+mr_2: no voxel .* MR's own label map"):
        labelled(replace(case, mr_label=empty), INTENSITY)


def test_one_image_in_both_channels_is_told_from_a_pair(case: CroppedCase) -> None:
    alone = replace(case, mr=None, mr_label=None)
    assert [view(alone, INTENSITY).single for view in (labelled, blind)] == [True, True]
    assert [view(case, INTENSITY).single for view in (labelled, blind)] == [False, False]


def test_an_unfit_image_names_the_case(case: CroppedCase) -> None:
    assert case.mr is not None
    flat = replace(case, mr=Volume(np.zeros_like(case.mr.data), case.mr.affine))
    for view in (labelled, blind):
        with pytest.raises(DataError, match=r"ct_1\+mr_2: MR has no contrast"):
            view(flat, INTENSITY)
