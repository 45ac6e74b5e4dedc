import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.volume import Volume
from crossmodalnet.metrics.overlap import dice
from crossmodalnet.registration.align import AlignSettings, align, bring_image, bring_labels
from crossmodalnet.registration.ants import SynSettings
from crossmodalnet.registration.staged import RECIPES, RecipeName

SETTINGS = AlignSettings(SynSettings("affine", (1, 1, 1)), 9.0, ("centre_of_mass",), 0.0, 1, "fast")
# Array axes against the world's: left-posterior-superior, and posterior-inferior-right.
LPS = np.diag([-1.0, -1.0, 1.0])
PIR = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def _pair(
    scan: Callable[..., Any], centred: Callable[..., Any], shift_mm: float, degrees: float, codes: Any
) -> tuple[Volume, ...]:
    """A CT, and the MR of a smaller patient who lies elsewhere in its field of view, turned."""
    ct = scan("ct", centred(6.5))
    mr = scan(
        "mr", centred(6.5, rotation=codes), shift_mm=(shift_mm, -shift_mm / 2, shift_mm / 2), scale=0.92
    )
    world = np.eye(4)
    world[:3, :3] = Rotation.from_rotvec(np.deg2rad(degrees) * np.array([0.6, 0.0, 0.8])).as_matrix()
    return (*ct, *(Volume(volume.data, world @ volume.affine) for volume in mr))


@pytest.mark.parametrize(
    ("shift_mm", "degrees", "codes"), [pytest.param(0, 0, LPS, marks=pytest.mark.stress), (45, 28, PIR)]
)
def test_hearts_meet_wherever_they_lie_without_folds(
    scan: Callable[..., Any],
    centred: Callable[..., Any],
    tmp_path: Path,
    shift_mm: float,
    degrees: float,
    codes: Any,
) -> None:
    ct, ct_label, mr, mr_label = _pair(scan, centred, shift_mm, degrees, codes)
    found = align(ct, mr, SETTINGS, tmp_path)
    assert found.transform is not None, found.problems
    assert found.quality is not None
    moved = bring_labels(mr_label, ct.grid, found.transform, SETTINGS).data
    assert np.mean([dice(moved == i, ct_label.data == i) for i in (1, 2, 5)]) > 0.75
    assert found.quality.negative_jacobian_share == 0
    assert found.quality.inverse_error_mm < 0.5
    assert bring_image(mr, ct.grid, found.transform, SETTINGS).data.shape == ct.data.shape


def test_an_empty_mr_is_a_problem_and_no_crash(
    scan: Callable[..., Any], centred: Callable[..., Any], tmp_path: Path
) -> None:
    ct, _ = scan("ct", centred(6.5))
    found = align(ct, Volume(np.zeros_like(ct.data), ct.affine), SETTINGS, tmp_path)
    assert found.transform is None
    assert "nothing in common" in found.problems[0]


def test_recipes_are_as_named_and_finer_in_turn() -> None:
    assert tuple(RECIPES) == get_args(RecipeName)
    finest = [recipe.flow.levels[-1].spacing_mm for recipe in RECIPES.values()]
    assert finest == sorted(finest, reverse=True)


@pytest.mark.parametrize("recipe", ["syn", "fast"])
def test_a_full_disk_is_no_fault_of_the_pair(
    scan: Callable[..., Any],
    centred: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: Any,
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("crossmodalnet.registration.align.estimate", full)
    monkeypatch.setattr("crossmodalnet.registration.staged.write_field", full)
    ct, _ = scan("ct", centred(6.5))
    with pytest.raises(OSError, match="No space left"):
        align(ct, scan("mr", centred(6.5))[0], replace(SETTINGS, recipe=recipe), tmp_path)
