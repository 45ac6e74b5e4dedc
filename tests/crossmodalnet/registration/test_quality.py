from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import from_matvec
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration import quality
from crossmodalnet.registration.ants import Transform, prepare_ct, prepare_mr, write_affine, write_translation

AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])


def _field(path: Path, matrix: NDArray[np.float64], turned: bool = False) -> Path:
    """Write the displacement `matrix @ x` (RAS) of a 7x6x5 grid as ANTs does: LPS vectors, five axes."""
    turn = Rotation.from_euler("xyz", [30, 20, 10], degrees=True).as_matrix() if turned else np.eye(3)
    affine = from_matvec(turn @ np.diag([2.0, 3.0, 4.0]))
    x = affine[:3, :3] @ np.indices((7, 6, 5)).reshape(3, -1)
    vectors = (matrix @ x * np.array([[-1], [-1], [1]])).T.reshape(7, 6, 5, 1, 3)
    nib.save(nib.Nifti1Image(vectors.astype(np.float32), affine), path)
    return path


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("diagonal", "folded"), [((0, 0, 0), 0), ((0.3, -0.5, 0), 0), ((-1.2, 0, 0), 1), ((-1.2, -1.3, 0.2), 0)]
)
def test_a_linear_field_folds_where_its_determinant_is_negative(
    diagonal: tuple[float, ...], folded: float, turned: bool, tmp_path: Path
) -> None:
    assert quality.deformation(_field(tmp_path / "f.nii.gz", np.diag(diagonal), turned))[0] == folded


def test_the_largest_displacement_is_the_longest_vector(tmp_path: Path) -> None:
    path = _field(tmp_path / "f.nii.gz", np.diag([0.5, 0, 0.25]))
    assert quality.deformation(path)[1] == pytest.approx(np.hypot(0.5 * 12, 0.25 * 16))


def test_before_is_with_centres_aligned_whatever_the_start(scan: Any, centred: Any, tmp_path: Path) -> None:
    fixed = prepare_ct(scan("ct", centred(6.5))[0], 6.5)
    moving = prepare_mr(scan("mr", centred(6.5), shift_mm=(20, 10, 0))[0], 6.5)
    write_translation(fixed, moving, "geometric_centre", tmp_path / "bad.mat")
    write_translation(fixed, moving, "centre_of_mass", tmp_path / "good.mat")
    transforms = (Transform(tmp_path / name, None) for name in ("bad.mat", "good.mat"))
    bad, good = (quality.measure(fixed, moving, transform, tmp_path) for transform in transforms)
    assert bad.mi_before == good.mi_before == good.mi_after > bad.mi_after
    assert (good.negative_jacobian_share, good.largest_displacement_mm) == (0, 0)


@pytest.mark.parametrize("turned", [False, True])
def test_the_error_of_an_inverse_is_what_is_left(turned: bool, tmp_path: Path) -> None:
    # x -> 0.8 x and back by 1.25, exactly; doing nothing on the way back leaves the displacement.
    there = _field(tmp_path / "there.nii.gz", -0.2 * np.eye(3), turned)
    back = _field(tmp_path / "back.nii.gz", 0.25 * np.eye(3), turned)
    nothing = _field(tmp_path / "nothing.nii.gz", np.zeros((3, 3)), turned)
    assert quality.inverse_error_mm(there, back) == pytest.approx(0, abs=1e-5)
    assert quality.inverse_error_mm(there, nothing) > 1


def test_the_shared_view_is_of_the_smaller_image(tmp_path: Path) -> None:
    large, small = (Volume(np.ones((n, 20, 20), np.float32), AFFINE) for n in (20, 10))
    # The small image covers 0 to 36 mm; shifted, the part that the large one shows is half of it.
    for shift, expected in ((0.0, 1.0), (20.0, 0.5)):
        write_affine(from_matvec(np.eye(3), (shift, 0, 0)), tmp_path / "a.mat")
        share = quality.shared_view(large, small, Transform(tmp_path / "a.mat", None))
        assert share == pytest.approx(expected, abs=0.11)


def test_label_dice_is_the_mean_over_the_structures_in_either_map() -> None:
    a, b = np.zeros((2, 4, 4, 4), np.uint8)
    assert quality.label_dice(Volume(a, np.eye(4)), Volume(b, np.eye(4))) == 0
    a[0], b[0, :2], b[3] = 1, 1, 7
    dices = 2 * 8 / 24, 0
    assert quality.label_dice(Volume(a, np.eye(4)), Volume(b, np.eye(4))) == pytest.approx(sum(dices) / 2)


def test_tiles_alternate_between_grey_ct_and_warm_mr() -> None:
    ct, mr = (Volume(np.full((80, 80, 80), value, np.float32), AFFINE) for value in (0.4, 1.0))
    picture = quality.checkerboard(ct, mr)
    assert picture.shape == (144, 3 * 144 + 8, 3)
    assert picture[3, 3].tolist() == [102, 102, 102]
    assert picture[3, 20].tolist() == [255, 209, 158]
    assert picture[20, 20].tolist() == [102, 102, 102]


def test_anterior_is_up_and_the_patients_left_is_right() -> None:
    ct = np.zeros((80, 80, 80), np.float32)
    ct[41:, 41:, :] = 1
    axial = quality.checkerboard(Volume(ct, AFFINE), Volume(np.full_like(ct, 1e-6), AFFINE))[:, :144]
    # +x, patient right, is drawn left; +y, anterior, is drawn up.
    assert axial[3, 3].tolist() == [255, 255, 255]
    assert not axial[140:, :].any()
    assert not axial[:, 140:].any()


def test_the_file_is_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(size=(64, 64, 64)).astype(np.float32)
    quality.write_checkerboard(tmp_path / "a.png", Volume(noise, AFFINE), Volume(noise, AFFINE))
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (440, 144)
    assert (tmp_path / "a.png").stat().st_size < 150_000
