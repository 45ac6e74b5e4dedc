"""What a short training found of a learning rate, on disk: tuning/<model>/<lr>.json."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipeline.runtime.errors import DataError
from pipeline.runtime.inputs import read_object
from pipeline.runtime.outputs import write_json
from pipeline.runtime.paths import TUNING


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
