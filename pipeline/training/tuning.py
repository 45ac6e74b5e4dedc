"""Try a learning rate: a short training whose score decides, not its weights."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

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
        CrossModalNetError: as `run_training`, but for a divergence.
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


@dataclass(frozen=True)
class TrialResult:
    """A learning rate that was tried: a file of stage `tune`, or a row of recorded_rates.csv.

    Attributes:
        model: name of the network.
        lr: the rate.
        validation_dice: validation Dice that a short training reached with the rate; 0 where it diverged.
        epochs: epochs of the short training.
        recorded: tried beforehand, under the settings of a preset, not in this run.
    """

    model: str
    lr: float
    validation_dice: float
    epochs: int
    recorded: bool = False


def write_trial(path: Path, result: TrialResult) -> None:
    """Write a result as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(result))


def read_trials(name: str, top: Path) -> Sequence[TrialResult]:
    """Read the learning rates that were tried on a model, lowest first; none where there was no search.

    Args:
        name: name of the model.
        top: folder that `pipeline.runtime.paths` are relative to.

    Raises:
        DataError: a file is malformed.
    """
    trials = []
    for path in sorted((top / TUNING / name).glob("*.json")):
        content = read_object(path, "tune")
        try:
            trials.append(TypeAdapter(TrialResult).validate_python(content))
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
            key = ".".join(map(str, found["loc"]))
            raise DataError(f"{path}: {key}: {found['msg']}: run `dvc repro --force tune`") from error
    return sorted(trials, key=lambda trial: trial.lr)
