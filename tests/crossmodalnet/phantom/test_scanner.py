import numpy as np
import pytest
from scipy import ndimage

from crossmodalnet.imaging.structures import Modality
from crossmodalnet.phantom.generate import make_subject
from crossmodalnet.phantom.scanner import CT_PROTOCOLS, MR_PROTOCOLS, draw_scan
from tests.crossmodalnet.phantom.conftest import INDEX, SPACING_MM, level, volumes_ml


def scans(modality, num=12):
    return [draw_scan(np.random.default_rng(seed), modality, 3.0) for seed in range(num)]


def obliqueness_deg(scan):
    direction = scan.grid.affine[:3, :3] / np.linalg.norm(scan.grid.affine[:3, :3], axis=0)
    nearest = np.sign(direction) * (np.abs(direction) == np.abs(direction).max(axis=0))
    return np.rad2deg(np.arccos((np.trace(direction @ nearest.T) - 1) / 2))


def test_ct_is_parallel_to_the_axes_and_mr_is_oblique():
    assert max(obliqueness_deg(scan) for scan in scans(Modality.CT)) < 1e-4
    angles = [obliqueness_deg(scan) for scan in scans(Modality.MR)]
    assert 4.9 < min(angles) < max(angles) < 20.1


def test_mr_slices_are_thicker():
    for scan in scans(Modality.MR):
        steps = np.array(scan.grid.spacing_mm)
        others = np.delete(steps, scan.slice_axis)
        assert steps[scan.slice_axis] == pytest.approx(1.6 * others[0])
        assert 2.85 < others[0] == pytest.approx(others[1])


@pytest.mark.parametrize("modality", list(Modality))
def test_orientations_and_origins_differ(modality):
    drawn = scans(modality)
    signs = {tuple(np.round(s.grid.affine[:3, :3] / 3.0).ravel()) for s in drawn}
    assert len(signs) > 6
    assert np.std([s.grid.affine[:3, 3] for s in drawn], axis=0).min() > 20


@pytest.mark.parametrize("modality", list(Modality))
def test_heart_lies_well_within_the_field_of_view(modality):
    for scan in scans(modality):
        index = scan.grid.to_index(scan.heart_mm[:, None])[:, 0]
        edge_mm = np.minimum(index, np.array(scan.grid.shape) - 1 - index) * scan.grid.spacing_mm
        assert edge_mm.min() > 60


def test_patient_points_are_world_points_relative_to_the_heart():
    scan = scans(Modality.MR)[3]
    points = scan.patient_points()
    expected = scan.grid.to_world(np.array([[4], [2], [7]])) - scan.heart_mm[:, None]
    np.testing.assert_allclose(points[:, 4, 2, 7], expected[:, 0], atol=1e-3)
    shifted = np.linalg.norm(scan.patient_points(0.5) - points, axis=0)
    np.testing.assert_allclose(shifted, 0.5 * scan.grid.spacing_mm[scan.slice_axis], atol=1e-3)


POOLS = ("LV", "RV", "LA", "RA", "AO", "PA")


def noise(subject):
    """Robust deviation of neighbours' differences deep inside the blood, share of its level."""
    image, label = subject
    blood = ndimage.binary_erosion(np.isin(label.data, [INDEX[name] for name in POOLS]), iterations=2)
    steps = np.diff(image.data, axis=0)[blood[1:] & blood[:-1]]
    return float(np.median(np.abs(steps - np.median(steps))) / np.median(image.data[blood]))


# Written down before there was a second scanner: mean of the image, labelled voxels, shape, seed 0 at 6 mm.
BEFORE = {
    (Modality.CT, 1001): (-415.6369, 1133, (43, 38, 30)), (Modality.CT, 1002): (-405.38452, 1440, (45, 30, 40)),
    (Modality.MR, 1001): (58.69083, 1199, (29, 22, 36)), (Modality.MR, 1002): (264.58764, 898, (33, 17, 36)),
}  # fmt: skip


@pytest.mark.parametrize("key", BEFORE, ids=str)
def test_the_reference_is_what_it_was_before_there_was_another(key):
    image, label = make_subject(key[0], 6.0, 0, key[1])
    mean, labelled, shape = BEFORE[key]
    assert image.data.mean(dtype=np.float64) == pytest.approx(mean, rel=1e-5)
    assert abs(int((label.data > 0).sum()) - labelled) <= 2  # a boundary may round otherwise elsewhere
    assert label.data.shape == shape


@pytest.mark.parametrize("modality", list(Modality))
def test_the_same_person_lies_in_both(subjects, others, modality):
    for one, two in zip(subjects[modality], others[modality], strict=True):
        np.testing.assert_allclose(volumes_ml(two), volumes_ml(one), rtol=0.12, atol=1.5)


@pytest.mark.parametrize("modality", list(Modality))
def test_the_other_field_of_view_is_smaller(subjects, others, modality):
    for (one, _), (two, _) in zip(subjects[modality], others[modality], strict=True):
        assert two.data.size * np.prod(two.spacing_mm) < 0.85 * one.data.size * np.prod(one.spacing_mm)


@pytest.mark.parametrize(("modality", "protocols"), [(Modality.CT, CT_PROTOCOLS), (Modality.MR, MR_PROTOCOLS)])
def test_the_other_slices_are_thicker(others, protocols, modality):
    spacing = sorted(others[modality][0][0].spacing_mm)
    assert spacing[2] / spacing[0] == pytest.approx(protocols["other"].slice_factor)


def test_the_other_ct_is_of_a_late_phase(others):
    for subject in others[Modality.CT]:
        pools = [level(subject, name) for name in POOLS]
        assert 140 < min(pools) <= max(pools) < 240
        assert max(pools) < 1.25 * min(pools)
        assert level(subject, "Myo") < 0.75 * min(pools)


def test_the_other_mr_has_bright_fat_and_little_contrast_of_the_wall(subjects, others):
    for pair in zip(subjects[Modality.MR], others[Modality.MR], strict=True):
        assert np.percentile(pair[1][0].data, 99) > 1.2 * level(pair[1], "LV")
        ratios = [level(subject, "Myo") / level(subject, "LV") for subject in pair]
        assert 1.2 * ratios[0] < ratios[1] < 0.85


@pytest.mark.parametrize("modality", list(Modality))
def test_the_other_is_noisier(subjects, others, modality):
    for one, two in zip(subjects[modality], others[modality], strict=True):
        assert noise(two) > 1.2 * noise(one)


@pytest.fixture(scope="module")
def ungated():
    numbers = (1001, 1002, 1003, 1004)
    return [[make_subject(m, SPACING_MM[m], 0, n, "ungated", same_patient=True) for m in Modality] for n in numbers]


def test_the_native_ct_hides_what_its_mr_shows(ungated):
    for ct, mr in ungated:
        (blood, muscle), (bright, dark) = (
            [np.median(image.data[label.data == INDEX[name]]) for name in ("LV", "Myo")] for image, label in (ct, mr)
        )
        assert abs(blood - muscle) < 25  # HU; the noise is 15 to 28
        assert max(abs(level(ct, name) - blood) for name in POOLS[:4]) < 15
        assert dark < 0.7 * bright
        spacing = sorted(mr[0].spacing_mm)
        assert spacing[2] / spacing[0] == pytest.approx(MR_PROTOCOLS["native"].slice_factor) == 4.0


def test_the_mr_of_a_patient_is_at_another_cardiac_phase(ungated):
    low, high = MR_PROTOCOLS["ungated"].motion.ventricles
    ratios = np.array([volumes_ml(mr) / volumes_ml(ct) for ct, mr in ungated])
    smaller = np.minimum(ratios, 1 / ratios)
    ventricles, muscle, vessels = (
        smaller[:, [INDEX[name] - 1 for name in names]] for names in (("LV", "RV"), ("Myo",), ("AO", "PA"))
    )
    assert 1 - high - 0.05 < ventricles.min() < ventricles.max() < 1 - low + 0.1  # papillary muscles, slices, voxels
    assert min(muscle.min(), vessels.min()) > 0.8
    assert {True, False} == set((ratios[:, INDEX["LV"] - 1] > 1).tolist())


def test_ungated_and_enhanced_share_person_and_mr_and_native_the_ct(ungated):
    native, enhanced = (
        [make_subject(m, SPACING_MM[m], 0, 1001, scanner, same_patient=True) for m in Modality]
        for scanner in ("native", "enhanced")
    )
    np.testing.assert_array_equal(enhanced[1][0].data, ungated[0][1][0].data)
    np.testing.assert_allclose(volumes_ml(enhanced[0]), volumes_ml(native[0]), rtol=0.12, atol=1.5)  # other slices
    assert level(enhanced[0], "LV") > 5 * level(native[0], "LV")
    np.testing.assert_array_equal(ungated[0][0][0].data, native[0][0].data)
    np.testing.assert_allclose(volumes_ml(native[1]), volumes_ml(native[0]), rtol=0.2, atol=1.5)
