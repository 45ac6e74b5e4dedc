from pathlib import Path
from typing import Any

import ants
import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import from_matvec
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.intensity import mutual_information
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration import ants as ours
from crossmodalnet.registration.ants import write_field, write_translation

AFFINE = np.array([[0, 0, 1.5, -33], [1.5, 0, 0, -36], [0, -1.5, 0, 34], [0, 0, 0, 1.0]])


def test_preparation_clips_hounsfield_units_and_scales_mr_by_percentiles() -> None:
    hounsfield = np.repeat(np.float32([-1000, -200, 200, 600, 3000]), 25).reshape(5, 5, 5)
    prepared = ours.prepare_ct(Volume(hounsfield, np.eye(4)), 1.0)
    np.testing.assert_allclose(prepared.data[:, 0, 0], [0, 0, 0.5, 1, 1])
    mr = Volume(np.arange(1000, dtype=np.float32).reshape(10, 10, 10), np.eye(4))
    scaled = ours.prepare_mr(mr, 1.0).data.ravel()
    assert scaled[[5, 995]].tolist() == [0, 1]
    assert scaled[500] == pytest.approx((500 - 9.99) / (989.01 - 9.99), abs=1e-5)


def test_a_constant_mr_becomes_zero() -> None:
    assert not ours.prepare_mr(Volume(np.full((5, 5, 5), 7, np.float32), np.eye(4)), 1.0).data.any()


@pytest.mark.parametrize(
    ("a", "b", "nats"),
    [
        ([0, 1] * 50, [0, 1] * 50, np.log(2)),
        ([0, 1] * 50, [1, 0] * 50, np.log(2)),
        ([0, 0, 1, 1] * 9, [0, 1, 0, 1] * 9, 0),
        ([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 0, 1, 1, 1], 0.75 * np.log(1.5) + 0.25 * np.log(0.5)),
        ([], [], 0),
    ],
    ids=["same coin", "other side of the coin", "independent", "noisy channel", "no values"],
)
def test_mutual_information_is_that_of_the_joint_counts(a: list[int], b: list[int], nats: float) -> None:
    assert mutual_information(np.float32(a), np.float32(b)) == pytest.approx(nats, abs=1e-12)


def test_shared_information_is_that_of_the_overlap_by_its_share(tmp_path: Path) -> None:
    coins = (np.indices((8, 8, 8)).sum(axis=0) % 2).astype(np.float32)
    wide, small = (Volume(np.pad(coins, width), np.eye(4)) for width in (8, 0))
    for fixed, shift, expected in ((wide, (-8, -8, -8), np.log(2)), (small, (0, 0, -4), np.log(2) / 2)):
        ours.write_affine(from_matvec(np.eye(3), shift), tmp_path / "a.mat")
        assert ours.shared_information(fixed, small, [tmp_path / "a.mat"]) == pytest.approx(expected, abs=1e-6)


def test_a_far_larger_fixed_image_is_cut_to_the_reach_of_the_moving_one(tmp_path: Path) -> None:
    fixed, moving = (Volume(np.zeros((n, n, n), np.float32), np.diag([4.0, 4, 4, 1])) for n in (60, 10))
    ours.write_affine(from_matvec(np.eye(3), (-100, -100, -100)), tmp_path / "a.mat")
    cut = ours._within_reach(fixed, moving, tmp_path / "a.mat")
    assert np.abs(cut.affine[:3, 3] - (100 - 40)).max() <= 8
    assert np.abs(np.array(cut.data.shape) * 4 - (40 + 2 * 40)).max() <= 16
    assert ours._within_reach(moving, fixed, tmp_path / "a.mat") is moving


def test_an_affine_map_round_trips(tmp_path: Path) -> None:
    turn = Rotation.from_euler("xyz", [10, -7, 15], degrees=True).as_matrix()
    matrix = from_matvec(turn * 0.9, (30, -20, 11))
    ours.write_affine(matrix, tmp_path / "a.mat")
    np.testing.assert_allclose(ours.read_affine(tmp_path / "a.mat"), matrix, atol=1e-5)


def test_a_field_round_trips(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 3, 2, 3)).astype(np.float32)
    write_field(tmp_path / "f.nii.gz", vectors, AFFINE)
    read, affine = ours.read_field(tmp_path / "f.nii.gz")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, vectors)
    np.testing.assert_array_equal(affine, AFFINE)


def test_a_field_is_stored_as_ants_writes_it(tmp_path: Path) -> None:
    write_field(tmp_path / "f.nii.gz", np.broadcast_to([1.0, 2.0, 3.0], (4, 3, 2, 3)), np.eye(4))
    image = nib.load(tmp_path / "f.nii.gz")
    assert image.shape == (4, 3, 2, 1, 3)
    assert image.header.get_intent()[0] == "vector"
    assert np.asarray(image.dataobj)[0, 0, 0, 0].tolist() == [-1, -2, 3]


@pytest.mark.parametrize(
    ("centre", "fixed_mm", "moving_mm"),
    [("centre_of_mass", (-2, 2, 4), (501, 30, 5)), ("geometric_centre", (-9, 9, 9), (504.5, 25.5, 4.5))],
)
@pytest.mark.parametrize("up_mm", [0.0, 40.0])
def test_a_translation_maps_centre_to_centre(
    centre: ours.Centre, fixed_mm: Any, moving_mm: Any, up_mm: float, tmp_path: Path
) -> None:
    fixed, moving = np.zeros((2, 10, 10, 10), np.float32)
    fixed[1, 1, 2] = moving[1, 9, 5] = 1
    images = Volume(fixed, np.diag([-2.0, 2, 2, 1])), Volume(moving, from_matvec(np.eye(3), (500, 21, 0)))
    write_translation(*images, centre, tmp_path / "t.mat", up_mm)
    transform = ants.read_transform(str(tmp_path / "t.mat"))
    to_lps = np.array([-1, -1, 1])
    moved = np.array(transform.apply_to_point(tuple(to_lps * fixed_mm))) * to_lps
    np.testing.assert_allclose(moved, np.add(moving_mm, (0, 0, up_mm)), atol=1e-4)
