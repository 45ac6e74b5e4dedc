"""Whole subjects: labels, intensities, and that neither is trivial."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.phantom.generate import make_subject

SPACING_MM = {Modality.CT: 4.0, Modality.MR: 3.5}
NUMBERS = (1001, 1002, 1003)


@pytest.fixture(scope="module")
def subjects():
    return {(m, n): make_subject(m, SPACING_MM[m], 0, n) for m in Modality for n in NUMBERS}


def inside(image, label, abbreviation):
    """Intensities of a structure, away from its boundary."""
    index = next(s.index for s in STRUCTURES if s.abbreviation == abbreviation)
    return image.data[ndimage.binary_erosion(label.data == index)]


def test_same_seed_same_voxels():
    first, again = (make_subject(Modality.MR, 6.0, 3, 1005) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert a.data.tobytes() == b.data.tobytes()
        assert (a.affine == b.affine).all()


def test_every_structure_is_there_in_one_piece(subjects):
    for _, label in subjects.values():
        assert [ndimage.label(label.data == s.index)[1] for s in STRUCTURES] == [1] * 7


def test_no_structure_leaves_the_field_of_view(subjects):
    for _, label in subjects.values():
        faces = [np.take(label.data, end, axis) for axis in range(3) for end in (0, -1)]
        assert not any(face.any() for face in faces)


def test_volumes_are_those_of_people(subjects):
    low_high_ml = {"LV": (25, 130), "Myo": (30, 120), "RV": (30, 140), "LA": (15, 110), "RA": (15, 110)}
    for _, label in subjects.values():
        voxel_ml = np.prod(label.spacing_mm) / 1000
        for structure in STRUCTURES[:5]:
            low, high = low_high_ml[structure.abbreviation]
            assert low < (label.data == structure.index).sum() * voxel_ml < high


def test_heart_fits_the_working_box(subjects):
    for _, label in subjects.values():
        points = label.grid.to_world(np.array(np.nonzero(label.data)))
        assert np.ptp(points, axis=1).max() < 132


def test_ct_is_in_hounsfield_units(subjects):
    for number in NUMBERS:
        image, label = subjects[Modality.CT, number]
        assert image.data.dtype == np.float32
        assert image.data.min() == -1024
        assert 400 < image.data.max() < 1500
        assert 230 < np.median(inside(image, label, "LV")) < 470
        assert 100 < np.median(inside(image, label, "RV")) < 360
        assert 60 < np.median(image.data[label.data == 5]) < 220
        assert ((image.data > -950) & (image.data < -700)).mean() > 0.1  # lung


def test_mr_is_positive_bright_blood_of_any_scale(subjects):
    scales = []
    for number in NUMBERS:
        image, label = subjects[Modality.MR, number]
        blood = np.median(inside(image, label, "LV"))
        assert image.data.min() >= 0
        assert blood > 1.6 * np.median(image.data[label.data == 5])
        scales.append(blood)
    assert max(scales) > 1.2 * min(scales)


def test_mr_has_a_bias_field(subjects):
    image, label = subjects[Modality.MR, 1001]
    blood = np.argwhere(ndimage.binary_erosion(np.isin(label.data, (1, 3, 6))))
    design = np.c_[blood, np.ones(len(blood))]
    values = image.data[tuple(blood.T)]
    fit = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    assert np.ptp(fit) > 0.1 * values.mean()


def test_people_differ(subjects):
    volumes = np.array([np.bincount(label.data.ravel(), minlength=8)[1:] for _, label in subjects.values()])
    assert len(np.unique(volumes[:, 0])) == len(volumes)
    assert (volumes[:3].std(axis=0) / volumes[:3].mean(axis=0)).max() > 0.08


def test_communicating_pools_differ_by_less_than_the_noise(subjects):
    for number in NUMBERS:
        image, label = subjects[Modality.CT, number]
        for one, other in (("LV", "LA"), ("LV", "AO"), ("RV", "PA")):
            a, b = inside(image, label, one), inside(image, label, other)
            assert abs(np.median(a) - np.median(b)) < 1.5 * a.std()


@pytest.mark.parametrize("modality", list(Modality))
def test_thresholding_does_not_find_the_structures(subjects, modality):
    """Even the best intensity window for each structure, chosen with the label at hand, gives a poor Dice."""
    image, label = subjects[modality, 1002]
    edges = np.percentile(image.data[label.data > 0], np.arange(0, 101, 4))
    best = []
    for structure in STRUCTURES:
        truth = label.data == structure.index
        inside_below = np.array([(image.data[truth] < e).sum() for e in edges])
        all_below = np.array([(image.data < e).sum() for e in edges])
        hits = inside_below[None] - inside_below[:, None]
        sizes = all_below[None] - all_below[:, None]
        best.append((2 * hits / (np.maximum(sizes, 0) + truth.sum())).max())
    assert np.mean(best) < 0.5


def test_spacing_out_of_range_is_an_error():
    with pytest.raises(ValueError, match="spacing_mm must be between"):
        make_subject(Modality.CT, 0.0, 0, 1001)


def test_the_same_patient_has_one_heart_in_both_modalities() -> None:
    def volumes_ml(modality: Modality, number: int, *, same: bool) -> np.ndarray[Any, Any]:
        label = make_subject(modality, 3.0, 0, number, same_patient=same)[1]
        return np.bincount(label.data.ravel(), minlength=8)[1:] * np.prod(label.spacing_mm) / 1000

    ct = volumes_ml(Modality.CT, 1001, same=True)
    assert np.array_equal(ct, volumes_ml(Modality.CT, 1001, same=False))
    assert np.abs(volumes_ml(Modality.MR, 1001, same=True) / ct - 1).max() < 0.15
    assert np.abs(volumes_ml(Modality.MR, 1001, same=False) / ct - 1).max() > 0.2
