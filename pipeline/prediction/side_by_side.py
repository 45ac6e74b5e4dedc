"""Many patients at once, in worker processes of which each loads the model once.

Single-threaded even where there is one worker: sums of PyTorch depend on the number of threads in their last bits, and
results shall not depend on the number of workers.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from crossmodalnet.inference.predictor import Predictor
from pipeline.prediction.origin import Origin
from pipeline.prediction.patient import load_predictor, predict_patient
from pipeline.runtime.console import track
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.workers import CaseCost, RuntimeConfig, Work, run_cases

logger = logging.getLogger(__name__)

# 2.8 GiB with scans of real size (docs/predict.md); the base is that of an evaluation, which loads the same.
COST = CaseCost(base_mb=1200, bytes_per_voxel=28)


@dataclass(frozen=True)
class PredictTask:
    """A patient to segment.

    Attributes:
        name: name of the patient.
        origin: scans and options.
        out: folder to write.
    """

    name: str
    origin: Origin
    out: Path


@dataclass(frozen=True)
class PatientWorkers:
    """Who segments several patients at once.

    Attributes:
        models: exported model folders.
        runtime: workers, or a scheduler.
        mirror: axes along which the predictor mirrors.
    """

    models: tuple[Path, ...]
    runtime: RuntimeConfig
    mirror: str = ""


def predict_side_by_side(tasks: Sequence[PredictTask], workers: PatientWorkers) -> dict[str, PipelineError]:
    """Segment patients on the CPU by workers.

    Returns:
        What went wrong, by name of the patient.

    Raises:
        ResourceError: patients that ended every process that segmented them, named after all others are done.
    """
    failed: dict[str, PipelineError] = {}
    results = run_cases(
        partial(predict_one, models=workers.models, mirror=workers.mirror),
        tasks,
        _work(tasks),
        workers.runtime,
    )
    for task, error in track(results, "patient", len(tasks)):
        if error is not None:
            logger.error("error: %s", error)
            failed[task.name] = error
    return failed


def predict_one(task: PredictTask, models: tuple[Path, ...], mirror: str) -> PipelineError | None:
    """Segment one patient, in a worker process; gives what went wrong."""
    try:
        predict_patient(_predictor(models, mirror), task.origin, task.out)
    except PipelineError as error:
        return error
    return None


@cache
def _predictor(models: tuple[Path, ...], mirror: str) -> Predictor:
    """Load the models once per process."""
    return load_predictor(models, "cpu", mirror)


def _work(tasks: Sequence[PredictTask]) -> Work:
    images = [path for task in tasks for path in task.origin.scans.paths.values()]
    return Work("predict", COST, images, kept=True)
