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
        np.testing.assert_array_equal(a.data, b.data)
        np.testing.assert_array_equal(a.affine, b.affine)
    assert (back.name, back.native.shape) == ("ct_1+mr_2", (7, 8, 9))
    np.testing.assert_array_equal(back.native.affine, case.native.affine)


def test_a_pair_without_the_label_of_its_mr_says_so_in_its_record(case: CroppedCase, tmp_path: Path) -> None:
    write_cropped(tmp_path / "case", replace(case, mr_label=None))
    assert json.loads((tmp_path / "case/crop.json").read_text("utf-8"))["files"] == ["ct", "mr", "label"]
    back = read_cropped(tmp_path / "case")
    assert back.mr_label is None
    assert labelled(back, INTENSITY).mr_label is None


@pytest.mark.parametrize("name", ["mr", "mr_label"])
def test_a_missing_file_names_the_folder_and_the_stage(case: CroppedCase, tmp_path: Path, name: str) -> None:
    write_cropped(tmp_path / "case", case)
    (tmp_path / f"case/{name}.nii.gz").unlink()
    with pytest.raises(DataError, match=rf"case does not hold a cropped case .*{name}.nii.gz.*repro crop"):
        read_cropped(tmp_path / "case")


def test_an_image_alone_comes_back_without_the_other(case: CroppedCase, tmp_path: Path) -> None:
    write_cropped(tmp_path / "mr", CroppedCase("mr_2", None, case.mr, None, case.native))
    assert sorted(path.name for path in (tmp_path / "mr").iterdir()) == ["crop.json", "mr.nii.gz"]
    back = read_cropped(tmp_path / "mr")
    assert (back.ct, back.label) == (None, None)
    np.testing.assert_array_equal(back.mr.data, case.mr.data)
    assert back.grid.same_as(case.grid)
    (tmp_path / "mr/mr.nii.gz").unlink()
    with pytest.raises(DataError, match="does not hold a cropped case"):
        read_cropped(tmp_path / "mr")


def test_a_case_needs_an_image(case: CroppedCase) -> None:
    with pytest.raises(ValueError, match="ct or mr of x must be an image"):
        CroppedCase("x", None, None, case.label, case.native)


def test_each_image_of_a_pair_has_its_own_label(case: CroppedCase) -> None:
    seen = labelled(case, INTENSITY)
    np.testing.assert_array_equal(seen.label, case.label.data)
    np.testing.assert_array_equal(seen.mr_label, case.mr_label.data)
    assert seen.mr_label.dtype == seen.label.dtype


def test_one_image_in_both_channels_is_told_from_a_pair(case: CroppedCase) -> None:
    alone = replace(case, mr=None, mr_label=None)
    for view in (labelled, blind):
        assert view(alone, INTENSITY).single
        assert not view(case, INTENSITY).single


NOTHING = Volume(np.zeros((4, 5, 6), np.uint8), np.diag([3.0, 3, 3, 1]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"label": None}, "the crop has no label map"),
        ({"mr_label": NOTHING}, "no voxel .* MR's own label map"),
        ({"mr": NOTHING}, "MR has no contrast"),
    ],
)
def test_unfit_cases_are_named(case: CroppedCase, change: dict[str, Volume | None], says: str) -> None:
    with pytest.raises(DataError, match=rf"ct_1\+mr_2: {says}"):
        labelled(replace(case, **change), INTENSITY)


def test_a_blind_case_needs_and_shows_no_label(case: CroppedCase) -> None:
    seen, unseen = labelled(case, INTENSITY), blind(replace(case, label=None), INTENSITY)
    assert (unseen.image == seen.image).all()
    assert (unseen.label.shape, unseen.label.dtype) == (seen.label.shape, seen.label.dtype)
    assert not blind(case, INTENSITY).label.any()
    assert blind(case, INTENSITY).mr_label is None
    with pytest.raises(DataError, match=r"ct_1\+mr_2: MR has no contrast"):
        blind(replace(case, mr=NOTHING), INTENSITY)
