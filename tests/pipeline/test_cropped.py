from pathlib import Path

import numpy as np
import pytest

from crossmodalnet.imaging.volume import Grid, Volume
from pipeline.cropped import CroppedCase, read_cropped, write_cropped
from pipeline.errors import DataError


@pytest.fixture
def case() -> CroppedCase:
    """Random images and labels; the native grid is oblique, with numbers that decimal digits do not hold."""
    random = np.random.default_rng(0)
    ct, mr = (Volume(random.normal(size=(4, 5, 6)).astype(np.float32), np.diag([3.0, 3, 3, 1])) for _ in "ab")
    label = Volume(random.integers(0, 8, (4, 5, 6), np.uint8), ct.affine)
    native = Grid((7, 8, 9), np.vstack([random.normal(size=(3, 4)) / 3, [0, 0, 0, 1]]))
    return CroppedCase("ct_1+mr_2", ct, mr, label, native)


def test_a_case_comes_back_bit_for_bit(case: CroppedCase, tmp_path: Path) -> None:
    write_cropped(tmp_path / "case", case)
    back = read_cropped(tmp_path / "case")
    for a, b in ((case.ct, back.ct), (case.mr, back.mr), (case.label, back.label)):
        np.testing.assert_array_equal(a.data, b.data)
        np.testing.assert_array_equal(a.affine, b.affine)
    assert (back.name, back.native.shape) == ("ct_1+mr_2", (7, 8, 9))
    np.testing.assert_array_equal(back.native.affine, case.native.affine)


def test_a_missing_file_names_the_folder_and_the_stage(case: CroppedCase, tmp_path: Path) -> None:
    write_cropped(tmp_path / "case", case)
    (tmp_path / "case/mr.nii.gz").unlink()
    with pytest.raises(DataError, match=r"case does not hold a cropped case .*mr.nii.gz.*dvc repro crop"):
        read_cropped(tmp_path / "case")
