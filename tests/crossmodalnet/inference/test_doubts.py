from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.imaging.inspect import inspect_file
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.inference.doubts import (
    Doubt,
    Flag,
    doubts_of_box,
    doubts_of_heart,
    doubts_of_labels,
    doubts_of_mr_labels,
    doubts_of_registration,
    doubts_of_scan,
    doubts_of_windows,
)
from crossmodalnet.registration.quality import Quality
from crossmodalnet.roi.heart_box import Box, FoundHeart

AFFINE = np.diag([5.0, 5.0, 5.0, 1.0])
SURE = {structure.abbreviation: 0.95 for structure in STRUCTURES}


def heart() -> np.ndarray:
    """Seven blocks of 6 x 6 x 6 voxels, 27 mL each."""
    labels = np.zeros((54, 16, 16), np.uint8)
    for index in range(1, 8):
        labels[7 * index - 3 : 7 * index + 3, 5:11, 5:11] = index
    return labels


def found(raw: np.ndarray, cleaned: np.ndarray | None = None, **confidence: float) -> list[Doubt]:
    kept = raw if cleaned is None else cleaned
    return doubts_of_labels(Volume(raw, AFFINE), Volume(kept, AFFINE), SURE | confidence, 5.0)


def test_a_heart_in_seven_pieces_of_its_own_raises_no_doubt() -> None:
    assert found(heart()) == []


def test_a_missing_structure_is_named_once() -> None:
    raw = heart()
    raw[raw == 7] = 0
    assert found(raw, PA=float("nan")) == [Doubt(Flag.MISSING, "not found: pulmonary artery")]


def test_pieces_count_by_their_share() -> None:
    raw = heart()
    raw[20:24, 12:14, 12:14] = 1  # 16 voxels beside 216
    assert found(raw, heart()) == []
    raw[20:24, 12:15, 12:15] = 1  # 36
    assert found(raw, heart()) == [
        Doubt(Flag.PIECES, "in pieces: left ventricle blood cavity (14% of it elsewhere)")
    ]


def test_a_structure_at_the_edge_is_perhaps_cut() -> None:
    assert [doubt.flag for doubt in found(heart()[:, 5:])] == [Flag.CUT]
    assert [doubt.flag for doubt in found(heart()[:-1])] == []


def test_volumes_that_no_adult_has() -> None:
    raw = heart()
    raw[raw == 1], raw[4, 5, 5] = 0, 1
    assert found(raw) == [
        Doubt(Flag.VOLUME, "of a volume that no heart of an adult has: left ventricle blood cavity (0.1 mL)")
    ]


def test_low_probability() -> None:
    assert found(heart(), Myo=0.7) == [
        Doubt(
            Flag.CONFIDENCE,
            "found with a low mean probability: myocardium of the left ventricle (0.70)",
        )
    ]


def grey(low: float) -> np.ndarray:
    """Values from `low` on, as many as there are voxels."""
    return np.linspace(low, low + 200, 8**3, dtype=np.float32).reshape(8, 8, 8)


@pytest.mark.parametrize(
    ("low", "modality", "flags"),
    [(-1000, Modality.CT, 0), (0, Modality.CT, 1), (0, Modality.MR, 0), (-1000, Modality.MR, 1)],
)
def test_intensities(low: float, modality: Modality, flags: int) -> None:
    volume = Volume(grey(low), AFFINE)
    assert [doubt.flag for doubt in doubts_of_scan(volume, modality)] == flags * [Flag.INTENSITIES]


@pytest.mark.parametrize(("low", "modality"), [(0, Modality.CT), (-1000, Modality.MR)])
def test_a_patient_is_judged_as_a_cohort_is(tmp_path: Path, low: int, modality: Modality) -> None:
    data = grey(low)
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "a.nii.gz")
    [problem] = inspect_file(tmp_path / "a.nii.gz", "image", modality=modality).findings
    [doubt] = doubts_of_scan(Volume(data, AFFINE), modality)
    assert doubt.says == f"{problem.what.partition(': read as')[0]}: {problem.remedy}"


def test_axes_that_are_not_at_right_angles() -> None:
    affine = AFFINE.copy()
    affine[1, 2] = 1.0
    (doubt,) = doubts_of_scan(Volume(grey(-999), affine), Modality.CT)
    assert doubt.flag == Flag.AXES
    assert "CT has axes that are not at right angles, 11.3 degrees off" in doubt.says


@pytest.mark.parametrize(("levels", "flags"), [(2, 1), (8, 1), (300, 0)])
def test_a_label_map_or_a_mask_is_no_scan(levels: int, flags: int) -> None:
    values = np.random.default_rng(0).integers(0, levels, (80, 80, 60)).astype(np.float32)
    found = doubts_of_scan(Volume(values, AFFINE), Modality.MR)
    assert [doubt.says for doubt in found] == flags * [
        f"MR has {levels} grey levels: is it a scan, or a label map or a mask?"
    ]


def of_mr(mr: np.ndarray, ct: np.ndarray | None = None) -> list[Doubt]:
    return doubts_of_mr_labels(Volume(mr, AFFINE), Volume(heart() if ct is None else ct, AFFINE), 5.0)


def test_the_label_map_of_the_mr_is_judged_too() -> None:
    assert of_mr(heart()) == []
    lost, small, cut = heart(), heart(), heart()[:, 5:]
    lost[lost == 3] = 0
    small[small == 2], small[10:13, 6:10, 6:10] = 0, 2  # 6 mL of 27
    assert of_mr(lost) == [Doubt(Flag.MISSING, "not in the MR, though in the CT: left atrium blood cavity")]
    assert of_mr(lost, lost) == []
    name = "right ventricle blood cavity"
    assert of_mr(small) == [
        Doubt(Flag.VOLUME, f"in the MR of a volume that no heart of an adult has: {name} (6.0 mL)"),
        Doubt(
            Flag.REGISTRATION,
            f"registration: volumes in MR and CT are too far apart: {name} (6.0 mL in the MR, 27.0 in the CT)",
        ),
    ]
    assert [doubt.flag for doubt in of_mr(cut)] == [Flag.CUT]


def test_search_box_and_registration() -> None:
    box = Box((0.0, 0.0, 0.0), (30.0, 30.0, 30.0))
    assert doubts_of_heart(FoundHeart(box, 0.5, 0.6)) == []
    assert [doubt.flag for doubt in doubts_of_heart(FoundHeart(box, 0.5, 0.59))] == [Flag.HEART_SEARCH]
    assert doubts_of_box(box, 0.0, Grid((6, 6, 6), AFFINE)) == []
    assert doubts_of_box(box, 0.0, Grid((5, 6, 6), AFFINE))[0].says.startswith("the heart box is 5 mm longer")
    assert doubts_of_box(box, 2.5, Grid((6, 6, 6), AFFINE))[0].says.startswith("the heart box is 5 mm longer")
    (small,) = doubts_of_box(Box((0.0, 0.0, 0.0), (30.0, 0.1, 30.0)), 5.0, Grid((6, 6, 6), AFFINE))
    assert small == Doubt(Flag.BOX, "the heart box is 30 x 0.1 x 30 mm: no heart is that small")
    assert doubts_of_registration(Quality(0.1, 0.2, 0.0, 3.0)) == []
    no_more_alike, folded, inverse, view = doubts_of_registration(Quality(0.2, 0.2, 0.01, 3.0, 1.5, 0.25))
    assert {no_more_alike.flag, folded.flag, inverse.flag, view.flag} == {Flag.REGISTRATION}
    assert folded.says == "registration: 1.00% of the voxels are folded (at most 0.10%)"


def test_windows_smaller_than_in_training_are_told_once_for_an_ensemble() -> None:
    own, seen = (64, 64, 64), (32, 32, 32)
    assert doubts_of_windows([own], [own]) == []
    (doubt,) = doubts_of_windows([own, own], [seen, seen])
    assert doubt.flag is Flag.WINDOWS
    assert "the network saw 32 x 32 x 32 voxels at once, not 64 x 64 x 64" in doubt.says
