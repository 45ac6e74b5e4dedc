"""Limit a training by epochs or seconds; the learning rate follows the spent share."""

import math
import time

from pipeline.config.sections import TrainConfig
from pipeline.training.processes import Processes

# Resolution of a time budget, whose spent share replaces the step number.
TICKS = 10_000


def learning_rate(step: float, num_steps: int, params: TrainConfig) -> float:
    """Compute a step's learning rate: linear warm-up, then constant or a cosine down to 1 % of `lr`."""
    warmup = math.ceil(params.warmup_fraction * num_steps)
    if step < warmup:
        return params.lr * (step + 1) / (warmup + 1)
    if params.schedule == "constant":
        return params.lr
    progress = (step - warmup) / max(1, num_steps - warmup)
    return params.lr * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, progress))) / 2)


class EpochBudget:
    """A number of epochs, independent of time, so results are the same on every machine."""

    def __init__(self, params: TrainConfig, steps_per_epoch: int) -> None:
        self._params = params
        self.num_epochs: int | None = params.epochs
        self._num_steps = params.epochs * steps_per_epoch

    def clock(self) -> float:
        """Return seconds on a monotonic clock; all processes call it at the same places."""
        return time.monotonic()

    def is_spent(self, epochs: int, seconds: float) -> bool:
        """Return True after the last epoch; `epochs` are complete, `seconds` were spent on steps."""
        return epochs >= self._params.epochs

    def share(self, step: int, seconds: float) -> float:
        """Return the share (0 to 1) of the budget spent before a step of the whole training."""
        return step / self._num_steps

    def learning_rate(self, step: int, seconds: float) -> float:
        """Return the learning rate of a step of the whole training."""
        return learning_rate(step, self._num_steps, self._params)


class TimeBudget(EpochBudget):
    """A number of seconds of steps without validation, which may end within an epoch."""

    def __init__(self, params: TrainConfig, steps_per_epoch: int, processes: Processes) -> None:
        super().__init__(params, steps_per_epoch)
        self.num_epochs = None
        self._processes = processes

    def clock(self) -> float:
        """Return the main process's seconds in all processes, so they stop at the same step."""
        return sum(self._processes.sum([time.monotonic() if self._processes.is_main else 0.0]))

    def is_spent(self, epochs: int, seconds: float) -> bool:
        """Return True when the time is spent, even within an epoch."""
        return seconds >= self._params.seconds

    def share(self, step: int, seconds: float) -> float:
        """Return the share of the time that is spent."""
        return min(1.0, seconds / self._params.seconds)

    def learning_rate(self, step: int, seconds: float) -> float:
        """Return the learning rate by the spent time."""
        return learning_rate(TICKS * seconds / self._params.seconds, TICKS, self._params)


def make_budget(params: TrainConfig, steps_per_epoch: int, processes: Processes) -> EpochBudget:
    """Make the budget given by `train.budget`."""
    if params.budget == "seconds":
        return TimeBudget(params, steps_per_epoch, processes)
    return EpochBudget(params, steps_per_epoch)
