"""Try learning rates in short trainings and keep only their scores."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from crossmodalnet.errors import DataError, DivergenceError, UsageError
from crossmodalnet.io.outputs import write_json
from pipeline.config.params import load_section, read_raw
from pipeline.config.sections import TuneConfig
from pipeline.runtime.inputs import read_object
from pipeline.runtime.paths import TUNING
from pipeline.training.cohort import read_cohort
from pipeline.training.params import ModelParams, read_params
from pipeline.training.processes import Processes
from pipeline.training.train_model import run_training


def read_trial(model: str, lr: str) -> tuple[ModelParams, int, Path]:
    """Return the parameters, seed and result file of a short training; `lr` is part of the file name.

    Raises:
        UsageError: unknown model, or not a positive number.
    """
    try:
        rate = float(lr)
    except ValueError as error:
        raise UsageError(f"--lr must be a number, got {lr!r}") from error
    if not 0 < rate < math.inf:
        raise UsageError(f"--lr must be positive and finite, got {lr}")
    params = read_params(model)
    changes = {"lr": rate, "budget": "epochs", "epochs": load_section(TuneConfig, "tune").epochs}
    params = replace(params, train=params.train.model_copy(update=changes))
    seeds = read_raw().get("seeds") or [0]
    return params, int(seeds[0]), TUNING / model / f"{lr}.json"


def run_trial(params: ModelParams, seed: int, file: Path, processes: Processes) -> None:
    """Train and write the validation Dice, 0 if the training diverges; every process calls this."""
    cohort = read_cohort(params.intensity)
    try:
        dice = run_training(params, cohort, seed, processes)[1].best_dice
    except DivergenceError:
        dice = 0.0
    if processes.is_main:
        result = TrialResult(params.name, params.train.lr, round(dice, 6), params.train.epochs)
        write_json(file, asdict(result))


@dataclass(frozen=True)
class TrialResult:
    """Result of one learning rate; Dice 0 if it diverged, `recorded` if a preset's settings measured it."""

    model: str
    lr: float
    validation_dice: float
    epochs: int
    recorded: bool = False


def read_trials(name: str, top: Path) -> Sequence[TrialResult]:
    """Read the learning rates tried on a model, lowest first; raise DataError if a file is malformed."""
    trials = []
    for path in sorted((top / TUNING / name).glob("*.json")):
        content = read_object(path, "tune")
        try:
            trials.append(TrialResult(**content))
        except TypeError as error:
            raise DataError(f"{path}: {error}: run `dvc repro --force tune`") from error
    return sorted(trials, key=lambda trial: trial.lr)
