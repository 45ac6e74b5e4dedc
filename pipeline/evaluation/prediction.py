"""Label maps that a trained model predicts for cases."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import torch
from torch import Tensor

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.intensity import Intensity, stack_input
from crossmodalnet.imaging.samples import without
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.segment import segment
from crossmodalnet.networks.common.card import LoadedModel
from crossmodalnet.roi.restore import keep_largest_component, restore_labels
from pipeline.config.sections import EvaluateConfig
from pipeline.preparation.cases import CroppedCase
from pipeline.runtime.workers import RuntimeConfig, Work, count_voxels, run_cases
from pipeline.training.checkpoint import load_model


class View(StrEnum):
    """What a network is shown; the value is its key in metrics files and the name of its folder."""

    PAIR = "pair"
    CT_ALONE = "ct_alone"
    MR_ALONE = "mr_alone"

    @property
    def missing_channel(self) -> int | None:
        """Channel of the input `(2, d, h, w)` that is taken out; None: neither."""
        return {View.CT_ALONE: 1, View.MR_ALONE: 0}.get(self)


ALONE = (View.CT_ALONE, View.MR_ALONE)
VIEW_TITLES: Mapping[View, str] = MappingProxyType(
    {View.PAIR: "CT + MR", View.CT_ALONE: "CT alone", View.MR_ALONE: "MR alone"}
)


def predict_labels(
    model: LoadedModel, case: CroppedCase, params: EvaluateConfig, view: View = View.PAIR
) -> Volume:
    """Segment one case.

    Args:
        model: network, on the device it shall run on, and its card.
        case: CT and registered MR on the working grid.
        params: overlap of the windows.
        view: part of the case that the network is shown.

    Returns:
        Class indices (uint8) on the original grid, as the network gives them.

    Raises:
        DataError: an image has no contrast or is not finite, or the network's output is not finite.
    """
    image = network_input(case, model.card.intensity)
    if view.missing_channel is not None:
        image = without(image, view.missing_channel)
    probabilities = predict_input(model, image, case.name, params)
    return restore_labels(probabilities.numpy(), case.grid, case.native)


def network_input(case: CroppedCase, intensity: Intensity) -> Tensor:
    """Bring the images of a case to [0, 1], `(2, d, h, w)`; its label is not looked at.

    Raises:
        DataError: an image has no contrast or is not finite.
    """
    try:
        return torch.from_numpy(stack_input(case.ct, case.mr, intensity))
    except ValueError as error:
        raise DataError(f"{case.name}: {error}") from error


def predict_input(model: LoadedModel, image: Tensor, name: str, params: EvaluateConfig) -> Tensor:
    """Give the class probabilities of an input on the working grid.

    Args:
        model: network, on the device it shall run on, and its card.
        image: `(2, d, h, w)`.
        name: name of the case, for messages.
        params: overlap of the windows.

    Returns:
        `(num_classes, d, h, w)`, on the CPU.

    Raises:
        DataError: the network's output is not finite.
    """
    try:
        return segment(model, image, params.overlap)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def cleaned(labels: Volume, params: EvaluateConfig) -> Volume:
    """Keep the largest component of each structure, where the parameters say so."""
    if params.keep_largest_component:
        return Volume(keep_largest_component(labels.data), labels.affine)
    return labels


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
    num_voxels = sum(map(count_voxels, work.images))
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
