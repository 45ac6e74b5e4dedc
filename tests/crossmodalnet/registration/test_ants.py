from pathlib import Path

import ants
import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.ants import (
    Centre,
    mutual_information,
    prepare_ct,
    prepare_mr,
    read_affine,
    read_field,
    write_affine,
    write_field,
    write_translation,
)

AFFINE = np.array([[0, 0, 1.5, -33], [1.5, 0, 0, -36], [0, -1.5, 0, 34], [0, 0, 0, 1.0]])


def test_preparation_clips_hounsfield_units_and_scales_mr_by_percentiles() -> None:
    ct = Volume(
        np.repeat(np.array([-1000, -200, 200, 600, 3000], np.float32), 25).reshape(5, 5, 5), np.eye(4)
    )
    np.testing.assert_allclose(prepare_ct(ct, 1.0).data[:, 0, 0], [0, 0, 0.5, 1, 1])
    mr = Volume(np.arange(1000, dtype=np.float32).reshape(10, 10, 10), np.eye(4))
    scaled = prepare_mr(mr, 1.0).data.ravel()
    assert scaled[[5, 995]].tolist() == [0, 1]
    assert scaled[500] == pytest.approx((500 - 9.99) / (989.01 - 9.99), abs=1e-5)


def test_a_constant_mr_becomes_zero() -> None:
    assert not prepare_mr(Volume(np.full((5, 5, 5), 7, np.float32), np.eye(4)), 1.0).data.any()


def test_mutual_information_of_a_fair_coin_with_itself_is_one_bit() -> None:
    coin = np.array([0, 1] * 50, np.float32)
    assert mutual_information(coin, coin) == pytest.approx(np.log(2))
    assert mutual_information(coin, 1 - coin) == pytest.approx(np.log(2))


def test_mutual_information_of_independent_or_no_values_is_zero() -> None:
    a, b = np.array([0, 0, 1, 1] * 9, np.float32), np.array([0, 1, 0, 1] * 9, np.float32)
    assert mutual_information(a, b) == pytest.approx(0, abs=1e-12)
    assert mutual_information(a[:0], b[:0]) == 0


def test_mutual_information_of_a_noisy_channel() -> None:
    # Joint counts [[3, 1], [1, 3]] of 8: marginals are even.
    a = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)
    b = np.array([0, 0, 0, 1, 0, 1, 1, 1], np.float32)
    assert mutual_information(a, b) == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5))


def test_an_affine_map_round_trips(tmp_path: Path) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [10, -7, 15], degrees=True).as_matrix() * 0.9
    matrix[:3, 3] = (30, -20, 11)
    write_affine(matrix, tmp_path / "a.mat")
    np.testing.assert_allclose(read_affine(tmp_path / "a.mat"), matrix, atol=1e-5)


def test_a_field_round_trips(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 3, 2, 3)).astype(np.float32)
    write_field(tmp_path / "f.nii.gz", vectors, AFFINE)
    read, affine = read_field(tmp_path / "f.nii.gz")
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
    centre: Centre, fixed_mm: tuple[float, ...], moving_mm: tuple[float, ...], up_mm: float, tmp_path: Path
) -> None:
    fixed, moving = np.zeros((10, 10, 10), np.float32), np.zeros((10, 10, 10), np.float32)
    fixed[1, 1, 2] = 1
    moving[1, 9, 5] = 1
    write_translation(
        Volume(fixed, np.diag([-2.0, 2, 2, 1])),
        Volume(moving, np.array([[1, 0, 0, 500], [0, 1, 0, 21], [0, 0, 1, 0], [0, 0, 0, 1.0]])),
        centre,
        tmp_path / "t.mat",
        up_mm,
    )
    transform = ants.read_transform(str(tmp_path / "t.mat"))
    to_lps = np.array([-1, -1, 1])
    moved = np.array(transform.apply_to_point(tuple(to_lps * fixed_mm))) * to_lps
    np.testing.assert_allclose(moved, np.add(moving_mm, (0, 0, up_mm)), atol=1e-4)
