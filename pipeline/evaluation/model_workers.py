"""Whether cases of an evaluation are computed in this process or side by side in several."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from crossmodalnet.networks.common.card import LoadedModel
from pipeline.runtime.workers import RuntimeConfig, Work, largest_image, run_cases
from pipeline.training.checkpoint import load_model

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class ModelWorkers:
    """How cases are computed side by side, on CPUs.

    Attributes:
        trained: folder of the trained model, which each worker loads once.
        runtime: section `runtime`.
    """

    trained: Path
    runtime: RuntimeConfig


def compute(
    function: Callable[[T, LoadedModel], R],
    tasks: Sequence[T],
    work: Work,
    model: LoadedModel,
    workers: ModelWorkers | None,
    few_voxels: int,
) -> Iterator[tuple[T, R]]:
    """Call a module-level function with each task and the model: by workers where there is enough to do.

    Args:
        function: called with a task and the model.
        tasks: picklable.
        work: kind of the work; `images` decide whether there is enough to do.
        model: model with its network on the device it shall run on, for this process.
        workers: how to compute side by side; None: not at all, as where the network is on a GPU.
        few_voxels: voxels of all images together that are done before worker processes have loaded their libraries.

    Yields:
        Each task with its result, in the order in which they finish.
    """
    num_voxels = sum(largest_image([path])[0] for path in work.images)
    if workers is None or len(tasks) < 2 or num_voxels < few_voxels:
        yield from ((task, function(task, model)) for task in tasks)
        return
    yield from run_cases(partial(_with_model, function, workers.trained), tasks, work, workers.runtime)


def _with_model(function: Callable[[T, LoadedModel], R], trained: Path, task: T) -> R:
    return function(task, _load(trained))


@cache
def _load(trained: Path) -> LoadedModel:
    """Load the model once per process."""
    return load_model(trained)
