"""What a prediction will take: work that is counted, a machine that is probed, a clock that learns."""

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from monai.inferers.utils import _get_scan_interval, dense_patch_slices
from torch import Tensor, nn

from crossmodalnet.imaging.volume import Grid
from crossmodalnet.inference import cost
from crossmodalnet.inference.recipe import Recipe
from crossmodalnet.networks.common.build import build_network
from crossmodalnet.networks.common.card import LoadedModel
from crossmodalnet.registration.align import AlignSettings
from crossmodalnet.registration.ants import SynSettings

ALIGN = AlignSettings(SynSettings("SyN", (100, 50, 10), (40, 30, 15)), 4.0, ("search",), 0.0, 1)
RECIPE = Recipe(ALIGN, (40, 40, 40), 3.5, 5.0, 5.0, None, overlap=0.5, keep_largest_component=True)
CT = Grid((100, 200, 50), np.diag([2.0, 2.0, 4.0, 1.0]))
MR = Grid((50, 50, 40), np.diag([2.0, 2.0, 2.0, 1.0]))


def test_work_is_counted_in_millions_of_voxels() -> None:
    work = cost.work_of(cost.Task(CT, MR, RECIPE, num_atlases=3))
    assert list(work) == [cost.SEARCH, cost.REGISTRATION, cost.NETWORK, cost.BACK, cost.WRITING]
    assert work[cost.SEARCH]["scan_mvox"] == pytest.approx(1.0)
    assert work[cost.SEARCH]["atlas_mvox"] == pytest.approx(3 * 16e6 / 5**3 / 1e6)
    iterations = 40 / 64 + 30 / 8 + 15 + 100 / 64 + 50 / 8 + 10
    assert work[cost.REGISTRATION]["iteration_mvox"] == pytest.approx(iterations * 0.25)
    assert work[cost.BACK]["heart_mvox"] == pytest.approx(0.1)


def test_labels_go_back_to_no_more_of_the_mr_than_the_network_has_seen() -> None:
    fine = Grid((300, 300, 200), np.diag([1.0, 1.0, 1.2, 1.0]))
    work = cost.work_of(cost.Task(CT, fine, RECIPE, 0))
    assert work[cost.BACK]["heart_mvox"] == pytest.approx(140**3 / 1.2 / 1e6)


def test_steps_that_are_not_taken_cost_nothing() -> None:
    assert list(cost.work_of(cost.Task(None, MR, RECIPE, 0))) == [cost.NETWORK, cost.WRITING]
    assert cost.REGISTRATION not in cost.work_of(cost.Task(CT, None, RECIPE, 3))


@pytest.mark.parametrize("name", ["syn", "fast", "balanced", "thorough"])
def test_every_kind_of_work_has_its_cost(name: Any) -> None:
    recipe = replace(RECIPE, align=replace(ALIGN, recipe=name))
    for step, amounts in cost.work_of(cost.Task(CT, MR, recipe, 3)).items():
        assert set(amounts) == set(cost.costs_of(recipe)[step])


def test_registration_is_reckoned_by_its_recipe() -> None:
    """`fast`: 40 iterations at 8 mm, 20 at 4 mm and 4 at 3 mm, over 16 litres."""
    amounts = {
        name: cost.work_of(cost.Task(CT, MR, replace(RECIPE, align=replace(ALIGN, recipe=name)), 0))
        for name in ("fast", "balanced", "thorough")
    }
    iterations = {name: work[cost.REGISTRATION]["iteration_mvox"] for name, work in amounts.items()}
    assert iterations["fast"] == pytest.approx(16 * (40 / 8**3 + 20 / 4**3 + 4 / 3**3))
    assert iterations["fast"] < iterations["balanced"] < iterations["thorough"]


@pytest.mark.parametrize(
    ("size", "window", "overlap"),
    [
        ((40, 40, 40), (40, 40, 40), 0.5),
        ((128, 96, 50), (96, 96, 96), 0.5),
        ((40, 50, 60), (16, 24, 32), 0.25),
    ],
)
def test_windows_are_those_that_monai_lays(
    size: tuple[int, int, int], window: tuple[int, int, int], overlap: float
) -> None:
    padded = tuple(max(n, w) for n, w in zip(size, window, strict=True))
    interval = _get_scan_interval(padded, window, 3, [overlap] * 3)
    assert cost.num_windows(size, window, overlap) == len(dense_patch_slices(padded, window, interval))


class Slow(nn.Module):
    """Takes a millisecond for every 1000 voxels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, image: Tensor) -> Tensor:
        time.sleep(image[0, 0].numel() / 1e6)
        return image


def model(network: nn.Module) -> LoadedModel:
    card: Any = SimpleNamespace(patch_size=(32, 32, 32))
    return LoadedModel(network, card)


def test_the_network_is_timed_and_its_windows_are_counted() -> None:
    one = cost.network_seconds([model(Slow())], replace(RECIPE, size=(32, 32, 32)))
    assert one > 32**3 / 1e6
    virtual = iter(range(100))
    clock: Any = lambda: float(next(virtual))  # noqa: E731 (a second between any two looks)
    two = cost.network_seconds([model(Slow())] * 2, replace(RECIPE, size=(48, 32, 32)), "x", clock)
    assert two == pytest.approx(2 * 8 * 2 * 2)  # models, half windows in one, windows, mirrored too


class Full(Slow):
    def forward(self, image: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_device_without_room_is_no_error_of_the_estimate() -> None:
    assert cost.network_seconds([model(Full())], RECIPE) == 0


def test_a_slow_machine_takes_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    task, fast = cost.Task(CT, MR, RECIPE, 3), []
    for speed in (0.1, 0.2):
        monkeypatch.setattr(cost, "probe", lambda speed=speed: speed)
        fast.append(cost.estimate(task, []))
    assert all(fast[1][step] == pytest.approx(2 * fast[0][step]) for step in fast[0])
    assert cost.probe() > 0


def test_what_is_done_at_once_takes_as_long_as_the_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "probe", lambda: 0.1)
    one = cost.estimate(cost.Task(CT, MR, RECIPE, 3), [])
    both = cost.estimate(cost.Task(CT, MR, RECIPE, 3, at_once=True), [])
    assert list(both) == [cost.AT_ONCE, cost.NETWORK, cost.BACK, cost.WRITING]
    assert both[cost.AT_ONCE] == max(one[cost.SEARCH], one[cost.REGISTRATION])
    alone = cost.estimate(cost.Task(CT, None, RECIPE, 3, at_once=True), [])
    assert list(alone) == [cost.SEARCH, cost.NETWORK, cost.WRITING]


def test_the_clock_learns_from_the_steps_so_far_within_bounds() -> None:
    times = iter([100.0, 120.0, 121.0])
    clock = cost.Clock({"a": 10.0, "b": 20.0, "c": 5.0}, now=times.__next__)
    assert clock.left("a") == 35
    assert clock.left("b") == pytest.approx(25 * 2)
    assert clock.left("c") == pytest.approx(5 * 21 / 30)
    times = iter([0.0, 1000.0])
    clock = cost.Clock({"a": 10.0, "b": 20.0}, now=times.__next__)
    clock.left("a")
    assert clock.left("b") == 80


def test_a_network_that_takes_one_size_alone_is_timed_with_that() -> None:
    options = {
        "channels": 12,
        "heads": (2, 2),
    }  # offsets: static, as in the paper and in the default pipeline
    network = build_network("crossmodalnet", options, patch_size=(40, 40, 40)).eval()
    card: Any = SimpleNamespace(patch_size=(40, 40, 40))
    assert cost.network_seconds([LoadedModel(network, card)], RECIPE) > 0
