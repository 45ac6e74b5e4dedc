"""Trying a learning rate: a short training whose score decides, not its weights."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config.params import load_section, read_raw
from pipeline.config.sections import TuneConfig
from pipeline.runtime.errors import DivergenceError, UsageError
from pipeline.runtime.paths import TUNING
from pipeline.training.distributed import Processes
from pipeline.training.model_params import ModelParams, read_params
from pipeline.training.train_model import run_training
from pipeline.training.training_cohort import read_cohort
from pipeline.training.trial_result import TrialResult, write_trial


@dataclass(frozen=True)
class Trial:
    """One learning rate of one network.

    Attributes:
        params: parameters of the training, with this rate and the epochs of `tune`.
        seed: the first of `seeds`.
        file: file of the result.
    """

    params: ModelParams
    seed: int
    file: Path


def read_trial(model: str, lr: str) -> Trial:
    """Read what a trial depends on.

    Args:
        model: a key of `network`.
        lr: the learning rate, as params.yaml writes it: it names the file.

    Raises:
        UsageError: no such model, or no positive number.
    """
    try:
        rate = float(lr)
    except ValueError as error:
        raise UsageError(f"--lr must be a number, got {lr!r}") from error
    if not 0 < rate < math.inf:
        raise UsageError(f"--lr must be positive and finite, got {lr}")
    params = read_params(model)
    changes = {"lr": rate, "budget": "epochs", "epochs": load_section(TuneConfig, "tune").epochs}
    train = params.train.model_copy(update=changes)
    seeds = read_raw().get("seeds") or [0]
    return Trial(replace(params, train=train), int(seeds[0]), TUNING / model / f"{lr}.json")


def run_trial(trial: Trial, processes: Processes) -> None:
    """Train, and write the validation Dice; 0 where the training diverges. Every process calls this.

    Raises:
        PipelineError: as `run_training`, but for a divergence.
    """
    params = trial.params
    cohort = read_cohort(params.intensity)
    try:
        dice = run_training(params, cohort, trial.seed, processes)[1].best_dice
    except DivergenceError:
        dice = 0.0
    if processes.is_main:
        result = TrialResult(params.name, params.train.lr, round(dice, 6), params.train.epochs)
        write_trial(trial.file, result)
