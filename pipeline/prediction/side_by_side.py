"""Predict several patients in parallel worker processes that load the models once."""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path

from crossmodalnet.errors import CrossModalNetError
from crossmodalnet.inference.patients import PatientTask, attempt, load_predictor
from crossmodalnet.inference.predictor import Predictor
from pipeline.runtime.workers import CaseCost, RuntimeConfig, Work, run_cases

# 2.8 GiB with scans of real size (docs/predict.md).
COST = CaseCost(base_mb=1200, bytes_per_voxel=28)


def predict_side_by_side(
    models: Sequence[Path], workers: int, scheduler: str | None, tasks: Sequence[PatientTask]
) -> Iterator[tuple[PatientTask, CrossModalNetError | None]]:
    """Segment patients on single-threaded CPU workers, so results do not depend on their number.

    Args:
        workers: patients at once; 0: as many as cores and memory allow.
        scheduler: address of a dask.distributed scheduler; None: workers on this machine.

    Returns:
        Each patient with its error or None.

    Raises:
        ResourceError: some patients killed every worker; raised after all others finish.
    """
    images = [path for task in tasks for path in task.scans.paths.values()]
    work = Work("predict", COST, images, kept=True)
    predict_one = partial(_predict_one, tuple(models))
    return run_cases(predict_one, tasks, work, RuntimeConfig(workers=workers, scheduler=scheduler))


def _predict_one(models: tuple[Path, ...], task: PatientTask) -> CrossModalNetError | None:
    return attempt(_predictor(models), task)


@cache
def _predictor(models: tuple[Path, ...]) -> Predictor:
    return load_predictor(models, "cpu")
