from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.metrics.overlap import dice
from crossmodalnet.registration.ants import (
    Initialisation,
    SynSettings,
    Transform,
    estimate,
    prepare_ct,
    prepare_mr,
    similarity,
    warp,
)

AFFINE = SynSettings("affine", (100, 50, 10))
SYN = SynSettings("SyN", (100, 50, 10), (20, 10))
MR_SHIFT = (14.0, -9.0, 6.0)
# A tilt, and then the axes swapped and two of them turned round: an oblique coronal scan.
OBLIQUE = Rotation.from_euler("xyz", [12, -8, 10], degrees=True).as_matrix() @ np.array(
    [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
)
Pair = tuple[Volume, Volume, Volume, Volume]


@pytest.fixture(scope="module")
def pair(scan: Callable[..., Any], centred: Callable[..., Any]) -> Pair:
    """CT, its label, and MR and label of a smaller patient who lies elsewhere, scanned obliquely."""
    mr = scan("mr", centred(6.5, rotation=OBLIQUE), shift_mm=MR_SHIFT, scale=0.92)
    return (*scan("ct", centred(6.5)), *mr)


def _overlap(pair: Pair, transform: Transform) -> float:
    _, ct_label, _, mr_label = pair
    moved = warp(mr_label, ct_label.grid, transform.files, "nearest").data
    return float(np.mean([dice(moved == i, ct_label.data == i) for i in (1, 2, 5, 6)]))


def _estimate(pair: Pair, settings: SynSettings, start: Initialisation, folder: Path) -> Transform:
    return estimate(prepare_ct(pair[0], 6.5), prepare_mr(pair[2], 6.5), settings, start, folder)


@pytest.mark.parametrize("start", ["search", "centre_of_mass", "geometric_centre"])
def test_affine_aligns_an_oblique_scan_of_another_patient(
    pair: Pair, start: Initialisation, tmp_path: Path
) -> None:
    still = resample(pair[3], pair[1].grid, "nearest").data
    assert np.mean([dice(still == i, pair[1].data == i) for i in (1, 2, 5, 6)]) < 0.55
    assert _overlap(pair, _estimate(pair, AFFINE, start, tmp_path)) > 0.75


def test_syn_improves_on_affine_and_leaves_a_field(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "affine").mkdir()
    affine = _estimate(pair, AFFINE, "centre_of_mass", tmp_path / "affine")
    syn = _estimate(pair, SYN, "centre_of_mass", tmp_path)
    fixed, moving = prepare_ct(pair[0], 6.5), prepare_mr(pair[2], 6.5)
    assert similarity(fixed, moving, syn.files) > similarity(fixed, moving, affine.files)
    assert syn.warp is not None
    assert syn.warp.is_file()
    assert _overlap(pair, syn) > 0.75


def test_an_origin_far_away_changes_nothing_physical(pair: Pair, tmp_path: Path) -> None:
    far = pair[2].affine.copy()
    far[:3, 3] += (800, -650, 1200)
    moved = (*pair[:2], Volume(pair[2].data, far), Volume(pair[3].data, far))
    assert _overlap(moved, _estimate(moved, AFFINE, "search", tmp_path)) > 0.75


def test_a_turned_ct_array_gives_the_same_place_in_the_patient(pair: Pair, tmp_path: Path) -> None:
    turn = np.array(
        [[0, -1, 0, 31], [0, 0, 1, 0], [-1, 0, 0, 31], [0, 0, 0, 1]]
    )  # index of the turned array to old
    ct, ct_label = (
        Volume(np.ascontiguousarray(v.data.transpose(2, 0, 1)[::-1, ::-1]), v.affine @ turn) for v in pair[:2]
    )
    assert ct.data[0, 31, 3] == pair[0].data[tuple((turn @ (0, 31, 3, 1))[:3])]
    turned = (ct, ct_label, *pair[2:])
    assert _overlap(turned, _estimate(turned, AFFINE, "centre_of_mass", tmp_path)) > 0.75


def test_warping_fills_outside_and_keeps_labels_whole(pair: Pair, tmp_path: Path) -> None:
    transform = _estimate(pair, AFFINE, "centre_of_mass", tmp_path)
    small = Volume(pair[2].data[10:20, 10:20, 10:20], pair[2].affine)
    assert warp(small, pair[0].grid, transform.files, "linear", fill=-5.0).data[0, 0, 0] == -5
    labels = warp(pair[3], pair[0].grid, transform.files, "nearest")
    assert labels.data.dtype == np.uint8
    assert set(np.unique(labels.data)) == {0, 1, 2, 5, 6}


def test_preparation_clips_hounsfield_units_and_scales_mr_by_percentiles() -> None:
    ct = Volume(
        np.repeat(np.array([-1000, -200, 200, 600, 3000], np.float32), 25).reshape(5, 5, 5), np.eye(4)
    )
    np.testing.assert_allclose(prepare_ct(ct, 1.0).data[:, 0, 0], [0, 0, 0.5, 1, 1])
    mr = Volume(np.arange(1000, dtype=np.float32).reshape(10, 10, 10), np.eye(4))
    scaled = prepare_mr(mr, 1.0).data.ravel()
    assert scaled[5] == 0
    assert scaled[995] == 1
    assert scaled[500] == pytest.approx((500 - 9.99) / (989.01 - 9.99), abs=1e-5)


def test_a_constant_mr_becomes_zero() -> None:
    assert not prepare_mr(Volume(np.full((5, 5, 5), 7, np.float32), np.eye(4)), 1.0).data.any()
