"""How long a prediction will take on this machine: what each step has to do, times how fast the machine is now.

Every step's work is counted from the sizes of the scans and the recipe. What a unit of it costs was measured, in units
of a probe that takes a fraction of a second and runs on the machine at hand just before; the network is timed itself.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.imaging.volume import Grid
from crossmodalnet.inference.recipe import Recipe
from crossmodalnet.inference.segment import is_out_of_memory, mirrorings
from crossmodalnet.inference.windows import STEP, Window, refusal
from crossmodalnet.networks.common.card import LoadedModel
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.registration.staged import METHODS
from crossmodalnet.registration.syn import AFFINE_ITERATIONS

SEARCH = "search for the heart"
REGISTRATION = "registration"
# By a named recipe; a key of `COSTS`, while the step's name is the other one.
STAGED_REGISTRATION = "registration in stages"
AT_ONCE = f"{SEARCH}, {REGISTRATION}"
NETWORK = "network"
BACK = "label map on the MR's grid"
WRITING = "writing"

# Seconds per unit of work, for a machine whose probe takes one second; by benchmarks/predict_time.py. A start is that
# of an interpreter with ANTs, in BACK of ANTs alone, in WRITING all that the scans do not make longer. In REGISTRATION
# it holds the coarse search too, whose grid is small, in STAGED_REGISTRATION also the rigid and the affine stage.
COSTS: Mapping[str, Mapping[str, float]] = {
    SEARCH: {"starts": 63.0, "scan_mvox": 1.9, "atlas_mvox": 70.0},
    REGISTRATION: {"starts": 63.0, "scan_mvox": 2.9, "iteration_mvox": 29.0},
    STAGED_REGISTRATION: {"starts": 98.0, "scan_mvox": 1.9, "iteration_mvox": 10.5},
    NETWORK: {"restored_mvox": 0.37},
    BACK: {"starts": 20.0, "heart_mvox": 7.6},
    WRITING: {"starts": 37.0, "scan_mvox": 0.91},
}
# A first step that takes far less or more than was estimated says no more than this about the others.
MOST_OFF = 4.0
_PROBE_EDGE, _PROBE_REPEATS = 64, 8


@dataclass(frozen=True)
class Task:
    """What a prediction will be made of.

    Attributes:
        ct: grid of the CT; None without one.
        mr: grid of the MR; None likewise.
        recipe: how the scans are prepared.
        num_atlases: atlases that will be registered; 0 where the heart box is given.
        at_once: whether the heart is searched while the MR is registered.
    """

    ct: Grid | None
    mr: Grid | None
    recipe: Recipe
    num_atlases: int
    at_once: bool = False


def work_of(task: Task) -> dict[str, dict[str, float]]:
    """Count the work of each step but the network's own, in millions of voxels, times iterations where there are any.

    Returns:
        Amounts by kind, as in `COSTS`, by step in the order of the steps; steps that will not be taken are left out.
    """
    first = task.ct or task.mr
    assert first is not None
    both = task.ct is not None and task.mr is not None
    scans = sum(mvox(grid) for grid in (task.ct, task.mr) if grid is not None)
    recipe = task.recipe
    work: dict[str, dict[str, float]] = {}
    if task.num_atlases:
        atlas = task.num_atlases * mvox(first, recipe.atlas_spacing_mm)
        work[SEARCH] = {"starts": 1, "scan_mvox": mvox(first), "atlas_mvox": atlas}
    if both:
        work[REGISTRATION] = {
            "starts": 1,
            "scan_mvox": scans + mvox(first),  # both are coarsened, and the MR is warped to the CT's grid
            "iteration_mvox": _iterations(recipe.registration, first),
        }
    work[NETWORK] = {"restored_mvox": NUM_CLASSES * _heart_mvox(recipe, first)}
    if both and task.mr is not None:
        work[BACK] = {"starts": 1, "heart_mvox": _heart_mvox(recipe, task.mr)}
    work[WRITING] = {"starts": 1, "scan_mvox": scans}
    return work


def _heart_mvox(recipe: Recipe, grid: Grid) -> float:
    """Millions of a scan's voxels that the network's grid can cover."""
    covered_mm3 = math.prod(recipe.size) * recipe.spacing_mm**3
    return min(mvox(grid), covered_mm3 / math.prod(grid.spacing_mm) / 1e6)


def _iterations(config: RegistrationConfig, fixed: Grid) -> float:
    """Millions of voxels of a registration's levels, times the iterations of each."""
    if config.method in METHODS:
        return sum(
            iterations * mvox(fixed, spacing_mm) for spacing_mm, iterations in METHODS[config.method][1]
        )
    finest = len(config.iterations) - 1
    deformable = sum(num / 8.0 ** (finest - level) for level, num in enumerate(config.iterations))
    affine = sum(num / 8.0 ** (2 - level) for level, num in enumerate(AFFINE_ITERATIONS))
    return (deformable + affine) * mvox(fixed, config.working_spacing_mm)


def costs_of(recipe: Recipe) -> dict[str, Mapping[str, float]]:
    """Give the costs of the steps, with the registration that the recipe names."""
    staged = recipe.registration.method in METHODS
    return {**COSTS, REGISTRATION: COSTS[STAGED_REGISTRATION if staged else REGISTRATION]}


def mvox(grid: Grid, spacing_mm: float | None = None) -> float:
    """Millions of voxels of a grid, or of its field of view at another spacing."""
    voxels = float(math.prod(grid.shape))
    if spacing_mm is not None:
        voxels *= math.prod(grid.spacing_mm) / spacing_mm**3
    return voxels / 1e6


def probe(clock: Callable[[], float] = time.perf_counter) -> float:
    """Smooth a small image a few times on one core, and give the time that it takes, in seconds.

    Args:
        clock: `time.perf_counter` for the machine as it is, beside all that runs on it.
    """
    image = np.zeros((_PROBE_EDGE, _PROBE_EDGE, _PROBE_EDGE), np.float32)
    start = clock()
    for _ in range(_PROBE_REPEATS):
        ndimage.gaussian_filter(image, 2.0)
    return clock() - start


def num_windows(size: Sequence[int], window: Sequence[int], overlap: float) -> int:
    """Count the windows that slide over a grid, as MONAI lays them."""
    counts = []
    for edge, seen in zip(size, window, strict=True):
        interval = max(1, int(seen * (1 - overlap)))
        counts.append(max(0, math.ceil((edge - seen) / interval)) + 1)
    return math.prod(counts)


def network_seconds(
    models: Sequence[LoadedModel],
    recipe: Recipe,
    mirror: str = "",
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Time each network on a window of half the edge, or a whole one where it takes no other; give what all will take.

    A device whose memory does not suffice for that counts as 0: what it will take, nobody knows.
    """
    total = 0.0
    for model in models:
        window = model.card.patch_size
        x, y, z = (max(STEP, STEP * round(n / (2 * STEP))) for n in window)
        half: Window = (x, y, z)
        size = window if refusal(model.network, half) else half
        device = next((parameter.device for parameter in model.network.parameters()), torch.device("cpu"))
        image = torch.zeros(1, 2, *size, device=device)
        try:
            with torch.inference_mode():
                if size == half:  # what is prepared once is not counted; of a whole window it is little
                    model.network(image)
                _wait(device)
                start = clock()
                model.network(image)
                _wait(device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return 0.0
        one = (clock() - start) * math.prod(window) / math.prod(size)
        total += one * num_windows(recipe.size, window, recipe.overlap) * len(mirrorings(mirror))
    return total


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def estimate(task: Task, models: Sequence[LoadedModel], mirror: str = "") -> dict[str, float]:
    """Estimate each step's seconds on this machine as it is now; takes a fraction of a second and a small window.

    Args:
        task: scans and recipe.
        models: networks, on the device they shall run on.
        mirror: axes, as `segment` has them.

    Returns:
        Seconds by step, in the order of the steps.
    """
    speed, costs = probe(), costs_of(task.recipe)
    seconds = {
        step: speed * sum(costs[step][kind] * amount for kind, amount in amounts.items())
        for step, amounts in work_of(task).items()
    }
    seconds[NETWORK] += network_seconds(models, task.recipe, mirror)
    if task.at_once and SEARCH in seconds and REGISTRATION in seconds:
        seconds = {AT_ONCE: max(seconds.pop(SEARCH), seconds.pop(REGISTRATION)), **seconds}
    return seconds


class Clock:
    """Tells how long it will still take, by the estimate and by how far the steps so far have kept to it.

    >>> clock = Clock({"a": 10.0, "b": 20.0}, now=iter([0.0, 5.0]).__next__)
    >>> clock.left("a"), clock.left("b")
    (30.0, 10.0)
    """

    def __init__(self, seconds: Mapping[str, float], now: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._now = dict(seconds), now
        self._start: float | None = None

    def left(self, step: str) -> float:
        """Give the seconds from the beginning of a step to the end of all."""
        now = self._now()
        self._start = now if self._start is None else self._start
        steps = list(self._seconds)
        before = sum(self._seconds[name] for name in steps[: steps.index(step)])
        after = sum(self._seconds[name] for name in steps[steps.index(step) :])
        if not before:
            return after
        return after * min(MOST_OFF, max(1 / MOST_OFF, (now - self._start) / before))
