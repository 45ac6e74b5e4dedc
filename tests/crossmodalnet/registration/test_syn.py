from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nibabel.affines import from_matvec
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.metrics.overlap import dice
from crossmodalnet.registration import syn
from crossmodalnet.registration.ants import Transform, linear, prepare_ct, prepare_mr, similarity, warp, write_affine
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.registration.syn import AFFINE_ITERATIONS, Start, SynRegistration, estimate_affine, estimate_syn

# A tilt, and then the axes swapped and two of them turned round: an oblique coronal scan.
TILT = Rotation.from_euler("xyz", [12, -8, 10], degrees=True).as_matrix()
OBLIQUE = TILT @ [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
Pair = tuple[Volume, Volume, Volume, Volume]


@pytest.fixture(scope="module")
def pair(scan: Any, centred: Any) -> Pair:
    """CT, its label, and MR and label of a smaller patient who lies elsewhere, scanned obliquely."""
    mr = scan("mr", centred(6.5, rotation=OBLIQUE), shift_mm=(14.0, -9.0, 6.0), scale=0.92)
    return (*scan("ct", centred(6.5)), *mr)


def _overlap(pair: Pair, transform: Transform) -> float:
    moved = warp(pair[3], pair[1].grid, transform.files, "nearest").data
    return float(np.mean([dice(moved == i, pair[1].data == i) for i in (1, 2, 5, 6)]))


def _affine(pair: Pair, start: Start, folder: Path) -> Transform:
    fixed, moving = prepare_ct(pair[0], 6.5), prepare_mr(pair[2], 6.5)
    return estimate_affine(fixed, moving, AFFINE_ITERATIONS, start, folder)


@pytest.mark.parametrize("start", ["search", "centre_of_mass"])
def test_affine_aligns_an_oblique_scan_of_another_patient(pair: Pair, start: Start, tmp_path: Path) -> None:
    still = resample(pair[3], pair[1].grid, "nearest").data
    assert np.mean([dice(still == i, pair[1].data == i) for i in (1, 2, 5, 6)]) < 0.55
    assert _overlap(pair, _affine(pair, start, tmp_path)) > 0.75


def test_the_exhaustive_search_finds_a_heart_that_all_starts_miss(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drifting(kind: Any, *arguments: Any) -> Path:
        if kind != "Similarity":
            return linear(kind, *arguments)
        path = Path(f"{arguments[-1]}0GenericAffine.mat")
        write_affine(from_matvec(np.eye(3), (70, 0, 0)), path)
        return path

    registration = SynRegistration(RegistrationConfig(working_spacing_mm=6.5, iterations=[10]))
    (tmp_path / "usual").mkdir()
    usual = registration.register(pair[0], pair[2], tmp_path / "usual")
    assert (usual.transform.start, usual.doubt) == ("search", "")
    monkeypatch.setattr(syn, "linear", drifting)
    found = registration.register(pair[0], pair[2], tmp_path)
    assert (found.transform.start, "exhaustive search fits best" in found.doubt) == ("exhaustive", True)
    assert _overlap(pair, found.transform) > 0.75


@pytest.mark.parametrize("transform", ["SyN", pytest.param("SyNCC", marks=pytest.mark.stress)])
def test_syn_improves_on_affine_and_leaves_a_field(pair: Pair, transform: Any, tmp_path: Path) -> None:
    (tmp_path / "affine").mkdir()
    affine = _affine(pair, "centre_of_mass", tmp_path / "affine")
    fixed, moving = prepare_ct(pair[0], 6.5), prepare_mr(pair[2], 6.5)
    config = RegistrationConfig(transform=transform, iterations=[20, 10])
    moved = estimate_syn(fixed, moving, config, "centre_of_mass", tmp_path)
    assert similarity(fixed, moving, moved.files) > similarity(fixed, moving, affine.files)
    assert moved.warp
    assert moved.warp.is_file()
    assert _overlap(pair, moved) > 0.75


@pytest.mark.parametrize("transform", ["Affine", "Centres"])
def test_registration_without_deformation(pair: Pair, transform: Any, tmp_path: Path) -> None:
    config = RegistrationConfig(transform=transform, working_spacing_mm=6.5)
    found = SynRegistration(config).register(pair[0], pair[2], tmp_path)
    gain = found.quality.mi_after - found.quality.mi_before
    assert (found.transform.warp, gain > 0.01, gain == 0) == (None, transform == "Affine", transform == "Centres")
    moved = SynRegistration(config).warp_labels(pair[3], pair[0].grid, found.transform)
    assert set(np.unique(moved.data)) == {0, 1, 2, 5, 6}


def test_warping_fills_outside_and_keeps_labels_whole(pair: Pair, tmp_path: Path) -> None:
    transform = _affine(pair, "centre_of_mass", tmp_path)
    small = Volume(pair[2].data[10:20, 10:20, 10:20], pair[2].affine)
    assert warp(small, pair[0].grid, transform.files, "linear", fill=-5.0).data[0, 0, 0] == -5
    labels = warp(pair[3], pair[0].grid, transform.files, "nearest")
    assert labels.data.dtype == np.uint8
    assert set(np.unique(labels.data)) == {0, 1, 2, 5, 6}
