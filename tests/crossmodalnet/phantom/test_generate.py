from itertools import chain

import numpy as np
import pytest
from scipy import ndimage

from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.phantom.generate import make_subject
from tests.crossmodalnet.phantom.conftest import inside, level, volumes_ml


def test_same_seed_same_voxels():
    first, again = (make_subject(Modality.MR, 6.0, 3, 1005) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert a.data.tobytes() == b.data.tobytes()
        assert (a.affine == b.affine).all()


def test_every_structure_is_there_in_one_piece(subjects):
    for _, label in chain(*subjects.values()):
        assert [ndimage.label(label.data == s.index)[1] for s in STRUCTURES] == [1] * 7


def test_no_structure_leaves_the_field_of_view(subjects, others):
    for _, label in chain(*subjects.values(), *others.values()):
        faces = [np.take(label.data, end, axis) for axis in range(3) for end in (0, -1)]
        assert not any(face.any() for face in faces)


def test_volumes_are_those_of_people(subjects):
    bounds_ml = {"LV": (25, 130), "RV": (30, 140), "LA": (15, 110), "RA": (15, 110), "Myo": (30, 120)}
    for subject in chain(*subjects.values()):
        for (low, high), volume_ml in zip(bounds_ml.values(), volumes_ml(subject), strict=False):
            assert low < volume_ml < high


def test_heart_fits_the_working_box(subjects):
    for _, label in chain(*subjects.values()):
        points = label.grid.to_world(np.array(np.nonzero(label.data)))
        assert np.ptp(points, axis=1).max() < 132


def test_ct_is_in_hounsfield_units(subjects):
    for image, label in subjects[Modality.CT]:
        assert image.data.dtype == np.float32
        assert image.data.min() == -1024
        assert 400 < image.data.max() < 1500
        assert 230 < level((image, label), "LV") < 470
        assert 100 < level((image, label), "RV") < 360
        assert 60 < np.median(image.data[label.data == 5]) < 220
        assert ((image.data > -950) & (image.data < -700)).mean() > 0.1  # lung


def test_mr_is_positive_bright_blood_of_any_scale(subjects):
    for image, label in subjects[Modality.MR]:
        assert image.data.min() >= 0
        assert level((image, label), "LV") > 1.6 * np.median(image.data[label.data == 5])
    scales = [level(subject, "LV") for subject in subjects[Modality.MR]]
    assert max(scales) > 1.2 * min(scales)


def test_mr_has_a_bias_field(subjects):
    image, label = subjects[Modality.MR][0]
    blood = np.argwhere(ndimage.binary_erosion(np.isin(label.data, (1, 3, 6))))
    design = np.c_[blood, np.ones(len(blood))]
    values = image.data[tuple(blood.T)]
    fit = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    assert np.ptp(fit) > 0.1 * values.mean()


def test_communicating_pools_differ_by_less_than_the_noise(subjects):
    for subject in subjects[Modality.CT]:
        for one, other in (("LV", "LA"), ("LV", "AO"), ("RV", "PA")):
            a, b = inside(subject, one), inside(subject, other)
            assert abs(np.median(a) - np.median(b)) < 1.5 * a.std()


@pytest.mark.parametrize("modality", list(Modality))
def test_thresholding_does_not_find_the_structures(subjects, modality):
    image, label = subjects[modality][1]
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


def test_the_same_patient_has_one_heart_in_both_modalities():
    def volumes(modality, *, same):
        return volumes_ml(make_subject(modality, 3.0, 0, 1001, same_patient=same))

    ct = volumes(Modality.CT, same=True)
    assert np.array_equal(ct, volumes(Modality.CT, same=False))
    assert np.abs(volumes(Modality.MR, same=True) / ct - 1).max() < 0.15
    assert np.abs(volumes(Modality.MR, same=False) / ct - 1).max() > 0.2
