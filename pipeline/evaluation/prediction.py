"""Predict label maps, in this process or in parallel workers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.intensity import Intensity, stack_input
from crossmodalnet.imaging.samples import without
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.segment import segment
from crossmodalnet.io.console import name_of, track
from crossmodalnet.networks.common.card import LoadedModel
from crossmodalnet.roi.restore import keep_largest_component, restore_labels
from pipeline.config.sections import EvaluateConfig
from pipeline.evaluation.kept_cases import KeptCases
from pipeline.evaluation.score_cases import View
from pipeline.preparation.cases import CroppedCase
from pipeline.runtime.workers import RuntimeConfig, Work, count_voxels, run_cases
from pipeline.training.checkpoint import load_model

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Evaluator:
    """A trained model and the settings of its evaluation.

    Attributes:
        missing: abbreviations of structures that are not delineated, so not scored.
        workers: folder of the model and section `runtime`, for parallel work on CPUs; None: in this process.
        kept: cache of finished cases; None disables it.
    """

    model: LoadedModel
    params: EvaluateConfig
    missing: tuple[str, ...] = ()
    workers: tuple[Path, RuntimeConfig] | None = None
    kept: KeptCases | None = None

    def compute(
        self, function: Callable[[T, LoadedModel], R], tasks: Sequence[T], work: Work, few_voxels: int
    ) -> list[R]:
        """Apply a module-level function to the model and picklable tasks, whose first part is their name.

        Work of less than `few_voxels` stays in this process: starting workers would take longer.
        """
        results: Iterator[tuple[T, R]] = ((task, function(task, self.model)) for task in tasks)
        if self.workers and len(tasks) > 1 and sum(map(count_voxels, work.images)) >= few_voxels:
            trained, runtime = self.workers
            results = run_cases(partial(_with_model, function, trained), tasks, work, runtime)
        by_name = {name_of(task): result for task, result in track(results, work.what, len(tasks))}
        return [by_name[name_of(task)] for task in tasks]


def predict_labels(model: LoadedModel, case: CroppedCase, params: EvaluateConfig, view: View = View.PAIR) -> Volume:
    """Segment one case, seen from `view`: class indices (uint8) on the original grid, before clean-up."""
    image = network_input(case, model.card.intensity)
    if view.missing_channel is not None:
        image = without(image, view.missing_channel)
    probabilities = predict_input(model, image, case.name, params)
    return restore_labels(probabilities.numpy(), case.grid, case.native)


def network_input(case: CroppedCase, intensity: Intensity) -> Tensor:
    """Scale the images of a case to [0, 1] and stack them, `(2, d, h, w)`.

    Raises:
        DataError: an image has no contrast or is not finite.
    """
    try:
        return torch.from_numpy(stack_input(case.ct, case.mr, intensity))
    except ValueError as error:
        raise DataError(f"{case.name}: {error}") from error


def predict_input(model: LoadedModel, image: Tensor, name: str, params: EvaluateConfig) -> Tensor:
    """Predict class probabilities `(num_classes, d, h, w)`, on the CPU, of an input `(2, d, h, w)`.

    Raises:
        DataError: the network's output is not finite.
    """
    try:
        return segment(model, image, params.overlap)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def cleaned(labels: Volume, params: EvaluateConfig) -> Volume:
    """Keep the largest component of each structure if `keep_largest_component` is set."""
    if params.keep_largest_component:
        return Volume(keep_largest_component(labels.data), labels.affine)
    return labels


def _with_model(function: Callable[[T, LoadedModel], R], trained: Path, task: T) -> R:
    return function(task, _load(trained))


@cache
def _load(trained: Path) -> LoadedModel:
    """Load the model once per process."""
    return load_model(trained)
