from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.ants import prepare_ct, prepare_mr
from crossmodalnet.registration.exhaustive import best_candidates


def _places(matrix: np.ndarray[Any, Any], points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(matrix[:3, :3] @ points + matrix[:3, 3:])


@pytest.mark.parametrize("shift_mm", [(0.0, 0.0, 0.0), (60.0, -40.0, 30.0)])
@pytest.mark.parametrize("angle", [0, 25])
def test_the_patient_is_found_wherever_he_lies(
    scan: Callable[..., Any], centred: Callable[..., Any], shift_mm: tuple[float, ...], angle: int
) -> None:
    """The MR's grid is moved and turned against the world, so its patient lies elsewhere in its field of view."""
    turn = Rotation.from_rotvec(np.deg2rad(angle) * np.array([0.0, 0.0, 1.0])).as_matrix()
    ct = prepare_ct(scan("ct", centred(8.0))[0], 8.0)
    mr = scan("mr", centred(8.0))[0]
    # The world of the MR is another one: that of the CT, turned and shifted.
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = turn, shift_mm
    moved = prepare_mr(Volume(mr.data, world @ mr.affine), 8.0)
    best = best_candidates(ct, moved, 3)
    heart = np.array([[-14.0, 20, 4], [8, 14, 0], [-8, -8, 34]])
    errors = [
        np.linalg.norm(_places(matrix, heart) - _places(world, heart), axis=0).mean() for matrix in best
    ]
    assert min(errors) < 12


def test_half_a_field_of_view_is_enough(scan: Callable[..., Any], centred: Callable[..., Any]) -> None:
    ct = prepare_ct(scan("ct", centred(8.0))[0], 8.0)
    mr = scan("mr", centred(8.0), shift_mm=(10, 20, -10))[0]
    half = prepare_mr(Volume(mr.data[:, :, 14:], mr.affine @ _offset(14)), 8.0)
    shift = best_candidates(ct, half, 1)[0][:3, 3]
    np.testing.assert_allclose(shift, (10, 20, -10), atol=11)


def test_constant_images_have_no_candidate() -> None:
    empty = Volume(np.zeros((12, 12, 12), np.float32), np.diag([10.0, 10, 10, 1]))
    assert best_candidates(empty, empty, 3) == []


def _offset(k: int) -> np.ndarray[Any, Any]:
    matrix = np.eye(4)
    matrix[2, 3] = k
    return matrix
