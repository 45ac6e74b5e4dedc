from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.imaging.inspect import inspect_file
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.inference import quality_flags
from crossmodalnet.inference.quality_flags import Flag, QualityFlag, label_flags, mr_label_flags, scan_flags
from crossmodalnet.registration.quality import Quality
from crossmodalnet.roi.box import Box, RoiEstimate

AFFINE = np.diag([5.0, 5.0, 5.0, 1.0])
CONFIDENT = {structure.abbreviation: 0.95 for structure in STRUCTURES}


def heart() -> np.ndarray:
    """Seven blocks of 6 x 6 x 6 voxels, 27 mL each."""
    labels = np.zeros((54, 16, 16), np.uint8)
    for index in range(1, 8):
        labels[7 * index - 3 : 7 * index + 3, 5:11, 5:11] = index
    return labels


def flags_of(raw: np.ndarray, cleaned: np.ndarray | None = None, **confidence: float) -> list[QualityFlag]:
    kept = raw if cleaned is None else cleaned
    return label_flags(Volume(raw, AFFINE), Volume(kept, AFFINE), CONFIDENT | confidence, 5.0)


def mr_flags_of(mr: np.ndarray, ct: np.ndarray | None = None) -> list[QualityFlag]:
    return mr_label_flags(Volume(mr, AFFINE), Volume(heart() if ct is None else ct, AFFINE), 5.0)


def grey(low: float) -> np.ndarray:
    """As many grey levels from `low` on as there are voxels."""
    return np.linspace(low, low + 200, 8**3, dtype=np.float32).reshape(8, 8, 8)


def test_a_complete_heart_has_no_flag() -> None:
    assert flags_of(heart()) == []
    assert mr_flags_of(heart()) == []


def test_missing_structure() -> None:
    raw = heart()
    raw[raw == 7] = 0
    assert flags_of(raw, PA=float("nan")) == [(Flag.MISSING, "not found: pulmonary artery")]


def test_pieces_are_flagged_by_their_share() -> None:
    raw = heart()
    raw[20:24, 12:14, 12:14] = 1  # 16 voxels beside 216
    assert flags_of(raw, heart()) == []
    raw[20:24, 12:15, 12:15] = 1  # 36
    expected = "in pieces: left ventricle blood cavity (14% of it elsewhere)"
    assert flags_of(raw, heart()) == [(Flag.PIECES, expected)]


def test_structures_at_the_edge_of_the_scan() -> None:
    assert [flag.flag for flag in flags_of(heart()[:, 5:])] == [Flag.CUT]
    assert [flag.flag for flag in mr_flags_of(heart()[:, 5:])] == [Flag.CUT]
    assert flags_of(heart()[:-1]) == []


def test_implausible_volume_and_low_confidence() -> None:
    raw = heart()
    raw[raw == 1], raw[4, 5, 5] = 0, 1
    volume, confidence = flags_of(raw, Myo=0.7)
    assert (volume.flag, confidence.flag) == (Flag.VOLUME, Flag.CONFIDENCE)
    assert "left ventricle blood cavity (0.1 mL)" in volume.says
    assert "myocardium of the left ventricle (0.70)" in confidence.says


def test_mr_label_map_is_compared_with_the_ct() -> None:
    lost, small = heart(), heart()
    lost[lost == 3] = 0
    small[small == 2], small[10:13, 6:10, 6:10] = 0, 2  # 6 mL of 27
    assert mr_flags_of(lost) == [(Flag.MISSING, "not in the MR, though in the CT: left atrium blood cavity")]
    assert mr_flags_of(lost, lost) == []
    volume, registration = mr_flags_of(small)
    assert (volume.flag, registration.flag) == (Flag.VOLUME, Flag.REGISTRATION)
    assert "right ventricle blood cavity (6.0 mL in the MR, 27.0 in the CT)" in registration.says


@pytest.mark.parametrize(
    ("low", "modality", "flags"),
    [(-1000, Modality.CT, 0), (0, Modality.CT, 1), (0, Modality.MR, 0), (-1000, Modality.MR, 1)],
)
def test_intensities_are_judged_as_those_of_a_cohort(
    tmp_path: Path, low: float, modality: Modality, flags: int
) -> None:
    found = scan_flags(Volume(grey(low), AFFINE), modality)
    assert [flag.flag for flag in found] == flags * [Flag.INTENSITIES]
    nib.save(nib.Nifti1Image(grey(low), AFFINE), tmp_path / "a.nii.gz")
    problems = inspect_file(tmp_path / "a.nii.gz", "image", modality=modality).findings
    expected = [f"{problem.what.partition(': read as')[0]}: {problem.remedy}" for problem in problems]
    assert {flag.says for flag in found} <= set(expected)


def test_axes_off_a_right_angle() -> None:
    affine = AFFINE.copy()
    affine[1, 2] = 1.0
    [flag] = scan_flags(Volume(grey(-999), affine), Modality.CT)
    assert flag.flag is Flag.AXES
    assert "11.3 degrees" in flag.says


@pytest.mark.parametrize(("levels", "flags"), [(2, 1), (8, 1), (300, 0)])
def test_label_map_given_as_a_scan(levels: int, flags: int) -> None:
    values = np.random.default_rng(0).integers(0, levels, (80, 80, 60)).astype(np.float32)
    found = scan_flags(Volume(values, AFFINE), Modality.MR)
    assert [flag.says.partition(":")[0] for flag in found] == flags * [f"MR has {levels} grey levels"]


def test_disagreement_of_atlases_and_a_place_unlike_them() -> None:
    box = Box((0.0, 0.0, 0.0), (30.0, 30.0, 30.0))
    assert quality_flags.heart_flags(RoiEstimate(box, 0.375, 0.6), 0.5) == []
    for heart in (RoiEstimate(box, 0.375, 0.59), RoiEstimate(box, 0.37, 0.6)):
        [flag] = quality_flags.heart_flags(heart, 0.5)
        assert flag.flag is Flag.HEART_SEARCH


def test_roi_that_is_too_small_or_too_large() -> None:
    box, grid = Box((0.0, 0.0, 0.0), (30.0, 30.0, 30.0)), Grid((6, 6, 6), AFFINE)
    assert quality_flags.roi_flags(box, 0.0, grid) == []
    for margin_mm, smaller in ((0.0, Grid((5, 6, 6), AFFINE)), (2.5, grid)):
        [flag] = quality_flags.roi_flags(box, margin_mm, smaller)
        assert flag.says.startswith("the heart ROI is 5 mm longer")
    [flag] = quality_flags.roi_flags(Box((0.0, 0.0, 0.0), (30.0, 0.1, 30.0)), 5.0, grid)
    assert flag == (Flag.BOX, "the heart ROI is 30 x 0.1 x 30 mm: no heart is that small")


def test_implausible_registration() -> None:
    assert quality_flags.registration_flags(Quality(0.1, 0.2, 0.0, 3.0)) == []
    flags = quality_flags.registration_flags(Quality(0.2, 0.2, 0.01, 3.0, 1.5, 0.25))
    assert [flag.flag for flag in flags] == 4 * [Flag.REGISTRATION]
    folded, inverse, view = (flag.says for flag in flags[1:])
    assert folded == "registration: 1.00% of the voxels are folded (at most 0.10%)"
    assert inverse == "registration: the inverse misses by 1.50 mm (at most 1 mm)"
    assert view == "registration: the fields of view share 25% (at least 50%)"


def test_smaller_windows_are_flagged_once_for_an_ensemble() -> None:
    trained, used = (64, 64, 64), (32, 32, 32)
    assert quality_flags.window_flags([trained], [trained]) == []
    [flag] = quality_flags.window_flags([trained, trained], [used, used])
    assert flag.flag is Flag.WINDOWS
    assert "the network saw 32 x 32 x 32 voxels at once, not 64 x 64 x 64" in flag.says
