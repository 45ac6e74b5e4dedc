import errno
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from nibabel.affines import from_matvec
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.volume import Volume
from crossmodalnet.metrics.overlap import dice
from crossmodalnet.registration import make_registration
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.registration.quality import RegistrationError

FAST = RegistrationConfig(method="fast")
# Array axes against the world's: left-posterior-superior, and posterior-inferior-right.
LPS = np.diag([-1.0, -1.0, 1.0])
PIR = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


@pytest.mark.parametrize(
    ("shift_mm", "degrees", "axes"), [pytest.param(0, 0, LPS, marks=pytest.mark.stress), (45, 28, PIR)]
)
def test_hearts_meet_wherever_they_lie_without_folds(
    scan: Any, centred: Any, tmp_path: Path, shift_mm: float, degrees: float, axes: Any
) -> None:
    ct, ct_label = scan("ct", centred(6.5))
    affine = centred(6.5, rotation=axes)
    shifts_mm = (shift_mm, -shift_mm / 2, shift_mm / 2)
    images = (volume.data for volume in scan("mr", affine, shift_mm=shifts_mm, scale=0.92))
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * np.array([0.6, 0.0, 0.8])).as_matrix()
    mr, mr_label = (Volume(data, from_matvec(turn) @ affine) for data in images)
    registration = make_registration(FAST)
    alignment = registration.register(ct, mr, tmp_path)
    moved = registration.warp_labels(mr_label, ct.grid, alignment.transform).data
    assert np.mean([dice(moved == i, ct_label.data == i) for i in (1, 2, 5)]) > 0.75
    assert alignment.quality.negative_jacobian_share == 0
    assert alignment.quality.inverse_error_mm < 0.5
    assert registration.warp_image(mr, ct.grid, alignment.transform).data.shape == ct.data.shape


def test_an_empty_mr_is_a_problem_and_no_crash(scan: Any, centred: Any, tmp_path: Path) -> None:
    ct, _ = scan("ct", centred(6.5))
    empty = Volume(np.zeros_like(ct.data), ct.affine)
    with pytest.raises(RegistrationError, match="nothing in common"):
        make_registration(FAST).register(ct, empty, tmp_path)


@pytest.mark.parametrize("method", ["syn", "fast"])
def test_a_full_disk_is_no_fault_of_the_pair(
    scan: Any, centred: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Any
) -> None:
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr("crossmodalnet.registration.syn.estimate_syn", full)
    monkeypatch.setattr("crossmodalnet.registration.staged.write_field", full)
    ct, mr = (scan(kind, centred(6.5))[0] for kind in ("ct", "mr"))
    with pytest.raises(OSError, match="No space left"):
        make_registration(RegistrationConfig(method=method)).register(ct, mr, tmp_path)
