from typing import Any

import numpy as np
import pytest
from nibabel.affines import apply_affine, from_matvec
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.ants import prepare_ct, prepare_mr
from crossmodalnet.registration.exhaustive import best_candidates


@pytest.mark.parametrize("shift_mm", [(0.0, 0.0, 0.0), (60.0, -40.0, 30.0)])
@pytest.mark.parametrize("angle", [0, 25])
def test_the_patient_is_found_wherever_he_lies(
    scan: Any, centred: Any, shift_mm: tuple[float, ...], angle: int
) -> None:
    ct = prepare_ct(scan("ct", centred(8.0))[0], 8.0)
    mr = scan("mr", centred(8.0))[0]
    world = from_matvec(Rotation.from_euler("z", angle, degrees=True).as_matrix(), shift_mm)
    best = best_candidates(ct, prepare_mr(Volume(mr.data, world @ mr.affine), 8.0), 3)
    heart = [[-14.0, 8, -8], [20, 14, -8], [4, 0, 34]]
    errors = [
        np.linalg.norm(apply_affine(matrix, heart) - apply_affine(world, heart), axis=1).mean() for matrix in best
    ]
    assert min(errors) < 12


def test_half_a_field_of_view_is_enough(scan: Any, centred: Any) -> None:
    ct = prepare_ct(scan("ct", centred(8.0))[0], 8.0)
    mr = scan("mr", centred(8.0), shift_mm=(10, 20, -10))[0]
    half = prepare_mr(Volume(mr.data[:, :, 14:], mr.affine @ from_matvec(np.eye(3), (0, 0, 14))), 8.0)
    shift = best_candidates(ct, half, 1)[0][:3, 3]
    np.testing.assert_allclose(shift, (10, 20, -10), atol=11)


def test_constant_images_have_no_candidate() -> None:
    empty = Volume(np.zeros((12, 12, 12), np.float32), np.diag([10.0, 10, 10, 1]))
    assert best_candidates(empty, empty, 3) == []
