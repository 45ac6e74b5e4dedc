from contextlib import nullcontext
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from crossmodalnet.imaging.inspect import inspect_file
from crossmodalnet.imaging.intensity import Intensity
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.inference import quality_flags
from crossmodalnet.inference.quality_flags import (
    Flag,
    Likeness,
    QualityFlag,
    TrainingLikeness,
    label_flags,
    mr_label_flags,
    scan_flags,
)
from crossmodalnet.networks.common.card import PHANTOM
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


@pytest.mark.parametrize(
    ("ct", "mr", "says"),
    [
        ({"PatientID": "a", "PatientSex": "F"}, {"PatientID": "A", "PatientBirthDate": "1950"}, None),
        ({"PatientID": "7714", "PatientSex": "F"}, {"PatientID": "7715", "PatientSex": "M"}, "'s ID and sex (DICOM)"),
        ({"PatientID": "a"}, {}, None),
    ],
)
def test_scans_of_two_patients(ct: dict[str, str], mr: dict[str, str], says: str | None) -> None:
    found = quality_flags.patient_flags([ct, mr])
    assert [flag.flag for flag in found] == [Flag.PATIENT] * bool(says)
    assert all(says and says in flag.says and "77" not in flag.says for flag in found)


def test_disagreement_of_atlases_and_a_place_unlike_them() -> None:
    box = Box((0.0, 0.0, 0.0), (30.0, 30.0, 30.0))
    assert quality_flags.heart_flags(RoiEstimate(box, 0.375, 0.6), 0.5) == []
    [flag] = quality_flags.heart_flags(RoiEstimate(box, 0.1, 0.1, "mirrored from left to right"), 0.5)
    assert flag.flag is Flag.ORIENTATION
    for heart in (RoiEstimate(box, 0.375, 0.59), RoiEstimate(box, 0.37, 0.6), RoiEstimate(box, 0.37, 0.59)):
        [flag] = quality_flags.heart_flags(heart, 0.5)
        assert flag.flag is Flag.HEART_SEARCH


@pytest.mark.parametrize(
    ("likeness", "agreement", "among", "flags"),
    [
        (0.01, 0.1, None, [Flag.HEART_SEARCH]),
        (0.21, 0.1, 0.4, [Flag.HEART_SEARCH]),
        (0.19, 0.6, 0.4, [Flag.MR_UNLIKE]),
        (0.01, 0.46, 0.4, [Flag.MR_UNLIKE, Flag.HEART_SEARCH]),
    ],
)
def test_mr_alone_unlike_the_atlases(likeness: float, agreement: float, among: float | None, flags: list[Flag]) -> None:
    heart = RoiEstimate(Box((0.0, 0.0, 0.0), (30.0, 30.0, 30.0)), likeness, agreement)
    assert [flag.flag for flag in quality_flags.mr_alone_flags(heart, among)] == flags


def test_mr_alone_of_another_body_part_is_rejected() -> None:
    head = RoiEstimate(Box((0.0, 0.0, 0.0), (30.0, 30.0, 30.0)), 0.13, 0.3)
    with pytest.raises(ValueError, match=r"shows no heart .* is 0\.130 nats, .* 0\.400; .* Dice of 0\.30"):
        quality_flags.mr_alone_flags(head, 0.4)


INTENSITY = Intensity((0.0, 100.0), (0.0, 100.0))


def pair(seed: int, *, is_alike: bool) -> tuple[Volume, Volume]:
    """A CT, and an MR that is another function of the same places or of none."""
    random = np.random.default_rng(seed)
    ct, other = (ndimage.gaussian_filter(random.normal(size=(24, 24, 24)), 2) for _ in range(2))
    ct *= 40 / ct.std()
    return Volume(ct + 50, AFFINE), Volume(1 + abs(ct - 30) if is_alike else 1 + other - other.min(), AFFINE)


def test_likeness_of_two_tissues() -> None:
    ct, mr = np.full((10, 10, 10), 0.0), np.full((10, 10, 10), 5.0)
    ct[5:], mr[5:], ct[0, 0, 0], mr[9] = 100, 1, -1000, 0
    found = quality_flags.measure_likeness(Volume(ct, AFFINE), Volume(mr, AFFINE), INTENSITY)
    shares = np.array([499, 400]) / 899
    assert found.mutual_information == pytest.approx(-(shares * np.log(shares)).sum())
    assert found.correlation == pytest.approx(400 / 899, rel=0.01)  # four of nine slices see both tissues


def test_likeness_of_training_pairs_is_far_from_chance() -> None:
    usual = quality_flags.training_likeness([pair(seed, is_alike=True) for seed in range(3)], INTENSITY)
    assert usual is not None
    assert all(high > 3 * low > 0 for high, low in zip(*usual, strict=True))
    assert quality_flags.training_likeness([pair(1, is_alike=False)], INTENSITY) is None
    assert quality_flags.training_likeness([], INTENSITY) is None
    ct, mr = pair(4, is_alike=True)
    assert quality_flags.likeness_flags(quality_flags.measure_likeness(ct, mr, INTENSITY), usual) == []
    for strange in (pair(5, is_alike=True)[1], pair(6, is_alike=False)[1]):
        with pytest.raises(ValueError, match="the MR does not show the heart of this CT"):
            quality_flags.likeness_flags(quality_flags.measure_likeness(ct, strange, INTENSITY), usual)
        found = quality_flags.measure_likeness(ct, strange, INTENSITY)
        [flag] = quality_flags.likeness_flags(found, usual, can_refuse=False)
        assert flag.flag is Flag.MR_UNLIKE


@pytest.mark.parametrize(("found", "flags"), [((0.42, 0.23), 0), ((0.41, 0.31), 1), ((0.79, 0.22), 1)])
def test_mr_unlike_the_training_pairs(found: tuple[float, float], flags: int) -> None:
    usual = TrainingLikeness(Likeness(0.8, 0.4), Likeness(0.25, 0.15))
    says = quality_flags.likeness_flags(Likeness(*found), usual)
    assert [flag.flag for flag in says] == flags * [Flag.MR_UNLIKE]


@pytest.mark.parametrize(
    ("ct", "mr", "is_exchanged"),
    [
        ((0, ""), (-1000, ""), True),
        ((-1000, "MR"), (0, "CT"), True),  # values that were rescaled
        ((0, "CT"), (-1000, ""), False),
        ((0, ""), (-1000, "MR"), False),
        ((0, ""), (0, ""), False),
        ((-1000, "MR"), (0, ""), False),
    ],
)
def test_exchanged_scans(ct: tuple[float, str], mr: tuple[float, str], is_exchanged: bool) -> None:
    scans = {Modality.CT: ct, Modality.MR: mr}
    expectation = pytest.raises(ValueError, match="seem to be exchanged") if is_exchanged else nullcontext()
    with expectation:
        quality_flags.check_exchanged(
            {name: (Volume(grey(low), AFFINE), {"Modality": tag} if tag else {}) for name, (low, tag) in scans.items()}
        )


@pytest.mark.parametrize(
    ("maker", "cohorts", "flags"),
    [("ACME", [PHANTOM, PHANTOM], 1), ("", [PHANTOM], 0), ("ACME", [PHANTOM, "table: a"], 0), ("ACME", [None], 0)],
)
def test_real_scanner_and_a_model_of_phantoms(maker: str, cohorts: list[str | None], flags: int) -> None:
    found = quality_flags.cohort_flags(Modality.MR, {"Manufacturer": maker}, cohorts)
    assert [flag.says.partition(",")[0] for flag in found] == flags * ["MR is from a scanner (ACME)"]


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
    assert quality_flags.registration_flags(Quality(0.2, 0.2, 0.0, 0.0)) == []  # centres laid together, as was asked
    flags = quality_flags.registration_flags(Quality(0.21, 0.2, 0.01, 3.0, 1.5, 0.25))
    assert [flag.flag for flag in flags] == 4 * [Flag.REGISTRATION]
    [flag] = quality_flags.registration_flags(Quality(0.1, 0.2, 0.0, 3.0), "mirrored from left to right")
    assert (flag.flag, "mirrored from left" in flag.says) == (Flag.ORIENTATION, True)
    for flag, figures in zip(flags[1:], ("1.00% of the voxels", "1.50 mm from", "only 25% of"), strict=True):
        assert figures in flag.says


def test_smaller_windows_are_flagged_once_for_an_ensemble() -> None:
    trained, used = (64, 64, 64), (32, 32, 32)
    assert quality_flags.window_flags([trained], [trained]) == []
    [flag] = quality_flags.window_flags([trained, trained], [used, used])
    assert flag.flag is Flag.WINDOWS
    assert "the network saw 32 x 32 x 32 voxels at once, not 64 x 64 x 64" in flag.says
