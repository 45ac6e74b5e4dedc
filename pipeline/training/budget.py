"""The budget of a training, in epochs or in seconds, and the learning rate, which follows the share that is spent."""

import math
import time

from pipeline.config.sections import TrainConfig
from pipeline.training.processes import Processes

# Where time is the budget, its share in these takes the place of the step's number.
TICKS = 10_000


def learning_rate(step: float, num_steps: int, params: TrainConfig) -> float:
    """Learning rate of a step: linear warm-up, then constant or half a cosine down to 1 % of `lr`.

    Args:
        step: counted from 0 over the whole training.
        num_steps: number of steps of the whole training.
        params: `lr`, `schedule` and `warmup_fraction`.
    """
    warmup = math.ceil(params.warmup_fraction * num_steps)
    if step < warmup:
        return params.lr * (step + 1) / (warmup + 1)
    if params.schedule == "constant":
        return params.lr
    progress = (step - warmup) / max(1, num_steps - warmup)
    return params.lr * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, progress))) / 2)


class EpochBudget:
    """A number of epochs, however long they take: the same course on every machine."""

    def __init__(self, params: TrainConfig, steps_per_epoch: int) -> None:
        self._params = params
        self.num_epochs: int | None = params.epochs
        self._num_steps = params.epochs * steps_per_epoch

    def clock(self) -> float:
        """Give the seconds since some moment; all processes call it at the same places."""
        return time.monotonic()

    def is_spent(self, epochs: int, seconds: float) -> bool:
        """Tell whether the training is over, after `epochs` whole epochs and `seconds` of steps."""
        return epochs >= self._params.epochs

    def share(self, step: int, seconds: float) -> float:
        """Give the share of the budget that is spent before a step of the whole training, 0 to 1."""
        return step / self._num_steps

    def learning_rate(self, step: int, seconds: float) -> float:
        """Give the learning rate of a step of the whole training, `seconds` of steps after its start."""
        return learning_rate(step, self._num_steps, self._params)


class TimeBudget(EpochBudget):
    """A number of seconds of steps, without validation: the last epoch ends where they do."""

    def __init__(self, params: TrainConfig, steps_per_epoch: int, processes: Processes) -> None:
        super().__init__(params, steps_per_epoch)
        self.num_epochs = None
        self._processes = processes

    def clock(self) -> float:
        """Give the seconds of the main process in all processes, so that they end at one step."""
        return sum(self._processes.sum([time.monotonic() if self._processes.is_main else 0.0]))

    def is_spent(self, epochs: int, seconds: float) -> bool:
        """Tell whether the time is over, in the middle of an epoch too."""
        return seconds >= self._params.seconds

    def share(self, step: int, seconds: float) -> float:
        """Give the share of the time that is spent."""
        return min(1.0, seconds / self._params.seconds)

    def learning_rate(self, step: int, seconds: float) -> float:
        """Give the learning rate by the time."""
        return learning_rate(TICKS * seconds / self._params.seconds, TICKS, self._params)


def make_budget(params: TrainConfig, steps_per_epoch: int, processes: Processes) -> EpochBudget:
    """Make the budget that `train.budget` names."""
    if params.budget == "seconds":
        return TimeBudget(params, steps_per_epoch, processes)
    return EpochBudget(params, steps_per_epoch)
