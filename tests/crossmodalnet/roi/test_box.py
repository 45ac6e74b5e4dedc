from typing import Any

import numpy as np
import pytest
from nibabel.affines import from_matvec

from crossmodalnet.imaging.geometry import WORLD, reoriented
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.phantom.generate import make_subject
from crossmodalnet.roi.atlas import make_atlas
from crossmodalnet.roi.box import FAULTS, Box, box_of, cut_voxels, find_roi, likeness_among, overflow_mm, working_grid


def test_the_box_holds_voxels_whole_on_any_axes() -> None:
    mask = np.zeros((6, 5, 4), np.uint8)
    mask[1:3, 2, 1:4] = 1
    # i runs along -y (2 mm), j along z (3 mm), k along x (4 mm)
    affine = np.array([[0, 0, 4, 100], [-2, 0, 0, 50], [0, 3, 0, 0], [0, 0, 0, 1.0]])
    box = box_of(Volume(mask, affine))
    np.testing.assert_allclose(box.low_mm, (100 + 4 - 2, 50 - 4 - 1, 6 - 1.5))
    np.testing.assert_allclose(box.high_mm, (100 + 12 + 2, 50 - 2 + 1, 6 + 1.5))
    assert box.grown(5).size_mm == pytest.approx((12 + 10, 4 + 10, 3 + 10))


def test_an_empty_mask_has_no_box() -> None:
    with pytest.raises(ValueError, match="empty"):
        box_of(Volume(np.zeros((3, 3, 3), np.uint8), np.eye(4)))


def test_overflow_is_what_does_not_fit() -> None:
    grid = working_grid(Box((0, 0, 0), (1, 1, 1)), (4, 4, 4), 3.0)
    assert overflow_mm(Box((0, 0, 0), (12, 12, 12)), grid) == 0
    assert overflow_mm(Box((0, 0, 0), (12, 13.5, 3)), grid) == pytest.approx(1.5)


def test_cut_voxels_are_counted_by_structure() -> None:
    labels = np.zeros((10, 4, 4), np.uint8)
    labels[0:5, 0, 0] = 1  # LV at x = 0..4
    labels[4:10, 1, 1] = 7  # PA at x = 4..9
    grid = Grid((2, 2, 2), np.diag([3.0, 3, 3, 1]))  # voxels span -1.5..4.5 on every axis
    cut = cut_voxels(Volume(labels, np.eye(4)), grid)
    assert cut == {"LV": 0, "RV": 0, "LA": 0, "RA": 0, "Myo": 0, "AO": 0, "PA": 5}
    flipped = cut_voxels(Volume(labels, np.diag([-1.0, 1, 1, 1])), grid)
    assert flipped["LV"] == 3  # x = 0, -1 in; -2, -3, -4 out


@pytest.mark.parametrize(
    ("modality", "poses"), [(Modality.CT, [(-6, 0.94), (4, 1.04), (7, 1.07)]), (Modality.MR, [(0, 1)])]
)
def test_atlases_of_ct_find_the_heart_of_another(
    scan: Any, centred: Any, modality: Modality, poses: list[tuple[float, float]]
) -> None:
    far = centred(6.5)
    far[:3, 3] += (300, -200, 900)
    image, label = scan(modality.value, far, shift_mm=(312, -206, 905), scale=0.95)
    scans = [scan("ct", centred(6.5), shift_mm=(s, -s, 0), scale=scale) for s, scale in poses]
    atlases = [make_atlas(*one, Modality.CT, 8.0) for one in scans]
    found, truth = find_roi(image, atlases, 8.0, modality=modality).box, box_of(label)
    # A face lies between two voxels of the vote, so rounding on another processor can move it by 8 mm.
    np.testing.assert_allclose(found.ends_mm, truth.ends_mm, atol=16)


def test_likeness_is_measured_where_the_heart_lies(scan: Any, centred: Any) -> None:
    atlases = [make_atlas(*scan("ct", centred(6.5), scale=scale), Modality.CT, 8.0) for scale in (0.96, 1.04)]
    image, _ = scan("ct", centred(6.5))
    wide, _ = scan("ct", centred(6.5, (64, 64, 48)), shape=(64, 64, 48))
    noise = Volume(np.random.default_rng(0).normal(0, 300, image.data.shape).astype(np.float32), image.affine)
    usual, (plain, air, none) = (
        likeness_among(atlases),
        (find_roi(one, atlases, 8.0).likeness for one in (image, wide, noise)),
    )
    assert air == pytest.approx(plain, rel=0.15)
    assert plain > 0.8 * usual
    assert none < 0.3 * usual
    assert likeness_among(atlases[:1]) is None


def test_a_heart_far_from_the_centre_of_mass_is_searched(scan: Any, centred: Any) -> None:
    atlases = [make_atlas(*scan("ct", centred(6.5), scale=scale), Modality.CT, 8.0) for scale in (0.96, 1.04)]
    image, label = scan("ct", centred(6.5))
    belly = np.full((*image.data.shape[:2], 30), 60.0, np.float32)  # below the chest, denser than that
    tall = Volume(np.concatenate([belly, image.data], axis=2), image.affine @ from_matvec(np.eye(3), (0, 0, -30)))
    np.testing.assert_allclose(find_roi(tall, atlases, 8.0).box.ends_mm, box_of(label).ends_mm, atol=16)


@pytest.mark.parametrize("axes", [(), (0,), (0, 1)])
def test_fault_of_orientation_of_a_ct(axes: tuple[int, ...]) -> None:
    atlases = [make_atlas(*make_subject(Modality.CT, 5.0, 71, n), Modality.CT, 5.0) for n in (1, 2)]
    ct = reoriented(make_subject(Modality.CT, 5.0, 71, 3)[0], WORLD)
    found = find_roi(Volume(np.flip(ct.data, axes).copy(), ct.affine), atlases, 5.0)
    assert found.fault == {(): "", **{own: fault for fault, own in FAULTS.items()}}[axes]


def test_without_atlases_there_is_no_box() -> None:
    with pytest.raises(ValueError, match="at least one"):
        find_roi(Volume(np.zeros((4, 4, 4), np.float32), np.eye(4)), [], 5.0)
