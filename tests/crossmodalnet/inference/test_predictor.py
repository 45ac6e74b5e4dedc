"""From scans in any form to label maps on their own grids; registration itself is tried in tests/integration."""

from itertools import permutations, product
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from nibabel.affines import from_matvec
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from crossmodalnet.imaging.intensity import Intensity
from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.samples import is_missing
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference import predictor as module
from crossmodalnet.inference.predictor import Prediction, Predictor
from crossmodalnet.inference.quality_flags import GIVE_BOX, Flag, Likeness, QualityFlag, TrainingLikeness
from crossmodalnet.inference.registered import Registered, register_scans
from crossmodalnet.networks.common.card import LoadedModel
from crossmodalnet.registration.ants import Transform
from crossmodalnet.registration.quality import Quality
from crossmodalnet.roi.box import Box, RoiEstimate, find_roi
from tests.crossmodalnet.inference.test_model_folder import CONFIG as MODEL_CONFIG

CONFIG = MODEL_CONFIG.model_copy(
    update={"size": (24, 24, 24), "spacing_mm": 3.0, "margin_mm": 3.0, "heart_likeness": None, "mr_likeness": None}
)
BOX = Box((-33.0, -30.0, -24.0), (27.0, 30.0, 36.0))
# Left to right, up and down are all different: a slab per structure, with a tail at the patient's left front.
TURNED = np.array([[0.0, -2.0, 0, 40], [-2.2, 0, 0, 45], [0, 0, 3.0, -40], [0, 0, 0, 1]])


class FromBrightness(nn.Module):
    """Logits of a network for which brightness is the class index over 10, in CT; in MR over 7 where CT is missing."""

    def forward(self, image: Tensor) -> Tensor:
        seen = torch.where(is_missing(image)[:, 0, None, None, None], 7 * image[:, 1], 10 * image[:, 0])
        return torch.stack([-20 * (seen - index) ** 2 for index in range(8)], dim=1)


def predictor(*networks: nn.Module, dropout: float = 0.3, window: int = 16, **changes: Any) -> Predictor:
    card: Any = SimpleNamespace(
        patch_size=(window,) * 3, intensity=Intensity((0.0, 1000.0), (0.0, 100.0)),
        train={"modality_dropout": dropout}, labels=STRUCTURES, cohort=None, origin="3 CTs",
        **{"network": {}, "adaptation": None} | changes,
    )  # fmt: skip
    models = [LoadedModel(network.eval(), card) for network in networks or [FromBrightness()]]
    return Predictor(models, CONFIG)


def scan(affine: np.ndarray = TURNED, shape: tuple[int, int, int] = (40, 40, 28)) -> Volume:
    """A CT whose brightness is 100 HU per class; seven slabs along x, and air around."""
    x, y, z = Volume(np.zeros(shape), affine).grid.to_world(np.indices(shape).reshape(3, -1))
    index = np.floor((x + 24) / 6) + 1
    inside = (index >= 1) & (index <= 7) & (abs(y) < 15) & (abs(z - 6) < 12 + 0.2 * y)
    values = np.where(inside, 100 * index, -1000).reshape(shape) + np.arange(shape[2]) / 100  # no label map
    return Volume(values.astype(np.float32), affine)


QUALITY = Quality(0.1, 0.2, 0.0, 3.0)
MR = Volume(np.clip(scan().data, 0, None), TURNED)


def truth(volume: Volume) -> np.ndarray:
    return np.where(volume.data > 0, volume.data / 100, 0).round().astype(np.uint8)


def agreement(found: Volume, volume: Volume) -> float:
    np.testing.assert_array_equal(found.affine, volume.affine)
    a, b = found.data > 0, truth(volume) > 0
    return float(2 * (found.data == truth(volume))[b].sum() / (a.sum() + b.sum()))


def test_label_map_lies_on_the_grid_of_the_scan() -> None:
    found = predictor()(ct=scan(), box=BOX)
    assert agreement(found.ct_labels, scan()) > 0.8
    assert found.mr_labels is None
    assert set(np.unique(found.ct_labels.data)) == set(range(8))
    # Slabs of a few millilitres.
    assert set(flags(found)) <= {"volume_implausible", "structure_in_pieces"}
    assert all(0.5 < value <= 1 for value in found.confidence.values())


ORIENTATIONS = ["".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)]


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_label_map_follows_the_orientation_of_the_scan(codes: str) -> None:
    volume = scan()
    expected = predictor()(ct=volume, box=BOX).ct_labels
    turn = ornt_transform(io_orientation(volume.affine), axcodes2ornt(codes))
    affine = volume.affine @ inv_ornt_aff(turn, volume.data.shape)
    turned = Volume(np.ascontiguousarray(apply_orientation(volume.data, turn)), affine)
    found = predictor()(ct=turned, box=BOX).ct_labels
    assert (found.data != apply_orientation(expected.data, turn)).mean() < 1e-4  # ties between two classes


def test_oblique_scan() -> None:
    turn = from_matvec(Rotation.from_euler("z", 25, degrees=True).as_matrix())
    volume = scan(turn @ TURNED, (44, 44, 28))
    found = predictor()(ct=volume, box=BOX).ct_labels
    assert agreement(found, volume) > 0.8
    centres = [
        volume.grid.to_world(np.array(np.nonzero(labels == 7))).mean(axis=1) for labels in (found.data, truth(volume))
    ]
    np.testing.assert_allclose(*centres, atol=1.5)  # half a voxel of the network


def test_mr_alone() -> None:
    found = predictor()(mr=MR, box=BOX)
    assert found.ct_labels is None
    assert agreement(found.mr_labels, MR) > 0.8


@pytest.mark.parametrize(
    ("changes", "modalities"),
    [
        ({"network": {"streams": "ct"}}, ("CT + MR", "CT")),
        ({"network": {"streams": "mr"}}, ("CT + MR", "MR")),
        ({"adaptation": {"scenario": "mr_to_ct"}}, ("CT", "MR")),
        ({"dropout": 0}, ("CT + MR",)),
        ({}, ("CT + MR", "CT", "MR")),
    ],
)
def test_accepted_modalities(changes: dict[str, Any], modalities: tuple[str, ...]) -> None:
    one = predictor(**changes)
    assert one.modalities == modalities
    for name, scans in (("CT", {"ct": scan()}), ("MR", {"mr": scan()}), ("no scan", {})):
        if name not in modalities:
            with pytest.raises(ValueError, match=f"this model segments .*, got {name}"):
                one(**scans, box=BOX)


class LessConfident(FromBrightness):
    """Never finds the last structure, and is less confident of all others."""

    def forward(self, image: Tensor) -> Tensor:
        logits = super().forward(image) / 2
        return torch.cat([logits[:, :7], torch.full_like(logits[:, 7:], -1e3)], dim=1)


def test_ensemble_averages_and_measures_agreement() -> None:
    one = predictor()(ct=scan(), box=BOX)
    twice = predictor(FromBrightness(), FromBrightness())(ct=scan(), box=BOX)
    np.testing.assert_array_equal(twice.ct_labels.data, one.ct_labels.data)
    assert set(twice.agreement.values()) == {1.0}
    assert all(np.isnan(value) for value in one.agreement.values())
    mixed = predictor(FromBrightness(), LessConfident())(ct=scan(), box=BOX)
    assert mixed.agreement["PA"] == 0
    assert mixed.agreement["LV"] > 0.9
    assert mixed.confidence["LV"] < one.confidence["LV"]


def flags(found: Prediction) -> list[str]:
    return [flag.flag.value for flag in found.quality_flags]


def test_quality_flags() -> None:
    brighter = Volume(scan().data.clip(0) + 20, TURNED)
    large = Box((-60.0, -30.0, -24.0), (57.0, 30.0, 36.0))
    assert {"intensities", "box"} <= set(flags(predictor()(ct=brighter, box=large)))
    half = scan().data[:, :22]
    assert flags(predictor()(ct=(half, TURNED), box=BOX))[0] == "heart_cut"  # the cause of others


class LargeNetwork(FromBrightness):
    """Does not fit into memory with more than 32 voxels a side."""

    def forward(self, image: Tensor) -> Tensor:
        if image[0, 0].numel() > 32**3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return super().forward(image)


def test_smaller_windows_where_memory_is_short() -> None:
    steps: list[str] = []
    found = predictor(LargeNetwork(), window=48)(ct=scan(), box=BOX, progress=steps.append)
    assert agreement(found.ct_labels, scan()) > 0.8
    assert "smaller_windows" in flags(found)
    assert "memory is short: windows of 32 x 32 x 32 voxels instead of 48 x 48 x 48" in steps
    assert "smaller_windows" in flags(predictor(LargeNetwork(), window=40)(ct=scan(), box=BOX))
    assert "smaller_windows" not in flags(predictor()(ct=scan(), box=BOX))


def with_atlases(likeness: float | None = None) -> Any:
    found: Any = predictor()
    found._config, found.atlases = CONFIG.model_copy(update={"heart_likeness": likeness}), (None,)
    return found


def test_ct_unlike_the_atlases_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(likeness: float, usual: float | None) -> Prediction:
        heart = RoiEstimate(BOX, likeness, agreement=0.4)
        monkeypatch.setattr(module, "run_alone", lambda *_, **__: heart)
        return with_atlases(usual)(ct=scan())

    with pytest.raises(ValueError, match=r"no heart found: .* is 0\.059 nats, .* 0\.400"):
        found(0.059, 0.4)
    assert "heart_search" in flags(found(0.061, 0.4))
    assert "heart_search" in flags(found(0.01, None))


@pytest.mark.parametrize("cores", [1, 2])
def test_search_and_registration_run_at_once_on_several_cores(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    quality = Quality(0.1, 0.2, 0.0, 3.0)
    registered = Registered(MR, Transform(Path("affine.mat"), None), quality)
    meeting = Barrier(cores, timeout=20)  # of those that must be under way at the same time

    def answer(function: Any, work: Any, environment: dict[str, str]) -> Any:
        meeting.wait()
        return registered if function.func is register_scans else RoiEstimate(BOX, 0.5, agreement=0.9)

    monkeypatch.setattr(module, "run_alone", answer)
    monkeypatch.setattr(module, "labels_on_mr", lambda labels, grid, transform: labels)
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    steps: list[str] = []
    found = with_atlases()(ct=scan(), mr=MR, progress=steps.append)
    before = ["search for the heart, registration"] if cores > 1 else ["search for the heart", "registration"]
    assert steps == ["reading", *before, "network"]
    np.testing.assert_array_equal(found.ct_labels.data, predictor()(ct=scan(), box=BOX).ct_labels.data)
    assert (found.box, found.registration) == (BOX, quality)


def test_mr_of_another_body_part_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).random(MR.data.shape, np.float32)
    ct = Volume(scan().data + noise, TURNED)  # so that air is no value of its own, as outside of the scan
    one = predictor()
    usual = TrainingLikeness(Likeness(0.4, 0.2), Likeness(0.1, 0.05))
    one._config = CONFIG.model_copy(update={"mr_likeness": usual})
    one.atlases = (Mock(),)
    monkeypatch.setattr(one, "_find_heart", lambda *_: BOX)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(module, "labels_on_mr", lambda labels, grid, transform: labels)

    def found(mr: Volume, box: Box | None = None) -> Prediction:
        registered = Registered(mr, Transform(Path("affine.mat"), None), QUALITY)
        monkeypatch.setattr(module, "run_alone", lambda *_, **__: registered)
        return one(ct=ct, mr=mr, box=box)

    assert "mr_unlike" not in flags(found(Volume(np.sqrt(MR.data), TURNED)))
    with pytest.raises(ValueError, match=r"^the MR does not show the heart of this CT"):
        found(Volume(noise + 1, TURNED))
    doubt = QualityFlag(Flag.HEART_SEARCH, f"unlike the atlases (0.1 nats){GIVE_BOX}")
    lost = QualityFlag(Flag.HEADER, "MR: axes assumed")
    monkeypatch.setattr(one, "_find_heart", lambda _, __, flags: flags.extend([doubt, lost]) or BOX)
    expected = r"^MR: axes assumed; or the CT may not show a heart \(unlike the atlases \(0\.1 nats\)\); or the MR"
    with pytest.raises(ValueError, match=expected):
        found(Volume(noise + 1, TURNED))
    assert "mr_unlike" in flags(found(Volume(noise + 1, TURNED), BOX))  # the user has looked


@pytest.mark.parametrize(("window", "whole"), [(24, True), (16, False)])  # each of several windows moves by itself
def test_labels_follow_the_move_of_the_network_to_the_mr(
    window: int, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, steps = FromBrightness(), []
    network.scale = nn.Parameter(torch.ones(1))
    # From the CT to the MR, voxels of 3 mm: the MR lies 6 mm to the right, 9 to the back and 3 up.
    move = torch.cat([torch.eye(3), torch.tensor([[2.0], [-3.0], [1.0]])], dim=1)[None]
    network.alignment = SimpleNamespace(transform=lambda image: move.expand(len(image), -1, -1))
    one = predictor(network, window=window)
    usual = TrainingLikeness(Likeness(0.8, 0.5), Likeness(0.1, 0.05))
    one._config = CONFIG.model_copy(update={"mr_likeness": usual})
    mr = Volume(MR.data, from_matvec(np.eye(3), [6.0, -9.0, 3.0]) @ TURNED)
    registered = Registered(resample(mr, scan().grid, "linear"), Transform(Path("a.mat"), None), QUALITY)
    monkeypatch.setattr(module, "run_alone", lambda *_, **__: registered)
    monkeypatch.setattr(module, "fault_of_orientation", lambda *_: "")
    monkeypatch.setattr(module, "labels_on_mr", lambda labels, grid, transform: resample(labels, grid, "nearest"))
    found = one(ct=scan(), mr=mr, box=BOX, progress=steps.append)
    assert agreement(found.ct_labels, scan()) > 0.8
    assert (agreement(found.mr_labels, mr) > 0.8) == whole
    assert ("mr_unlike" not in flags(found)) == whole
    assert ("the network moves the MR by 11 mm at the heart's centre" in steps) == whole


def test_an_mr_that_stays_is_not_moved_by_rounding() -> None:
    model: Any = SimpleNamespace(network=FromBrightness(), card=SimpleNamespace(patch_size=(24, 24, 24)))
    model.network.scale = nn.Parameter(torch.ones(1))
    model.network.alignment = SimpleNamespace(transform=lambda image: torch.eye(3, 4)[None])
    grid = scan(from_matvec(Rotation.from_euler("z", 25, degrees=True).as_matrix()) @ TURNED, (24, 24, 24)).grid
    np.testing.assert_array_equal(module.network_move(model, torch.zeros(2, 24, 24, 24), grid), np.eye(4))


def test_missing_heart_is_reported_before_a_failed_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(function: Any, work: Any, environment: dict[str, str]) -> Any:
        if function.func is find_roi:
            return RoiEstimate(BOX, 0.01, agreement=0.4)
        raise RuntimeError("the MR cannot be registered to the CT")

    monkeypatch.setattr(module, "run_alone", answer)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(ValueError, match="no heart found"):
        with_atlases(0.4)(ct=scan(), mr=MR)


def test_full_disk_is_told_from_a_failed_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = RuntimeError("the MR cannot be registered to the CT: from search: exit code 1")
    monkeypatch.setattr(module, "run_alone", Mock(side_effect=failure))
    with pytest.raises(RuntimeError, match="cannot be registered"):
        predictor()(ct=scan(), mr=MR, box=BOX)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"No room for \d+ MB \(0\.0 MB are free\)"):
        predictor()(ct=scan(), mr=MR, box=BOX)
