"""How long a training lasts, in epochs or in seconds, and what depends on how much of that is spent."""

import math
import time
from abc import ABC, abstractmethod

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


class TrainingBudget(ABC):
    """What a training may spend.

    Args:
        params: parameters of the training.

    Attributes:
        num_epochs: number of epochs of the whole training; None where that is not known before its end.
        num_steps: number of steps of the whole training; None likewise.
    """

    num_epochs: int | None = None
    num_steps: int | None = None

    def __init__(self, params: TrainConfig) -> None:
        self._params = params

    @abstractmethod
    def clock(self) -> float:
        """Seconds since some moment; all processes call it at the same places."""

    @abstractmethod
    def is_spent(self, epochs: int, seconds: float) -> bool:
        """Tell whether the training is over, after `epochs` whole epochs and `seconds` of steps."""

    @abstractmethod
    def share(self, step: int, seconds: float) -> float:
        """Share of the budget that is spent before the step of a number in the whole training, 0 to 1."""

    @abstractmethod
    def learning_rate(self, step: int, seconds: float) -> float:
        """Learning rate of the step of a number in the whole training, `seconds` of steps after its start."""


class EpochBudget(TrainingBudget):
    """So many epochs, however long they take: the same course on every machine.

    Args:
        params: parameters of the training.
        steps_per_epoch: number of steps of an epoch.
    """

    num_epochs: int
    num_steps: int

    def __init__(self, params: TrainConfig, steps_per_epoch: int) -> None:
        super().__init__(params)
        self.num_epochs = params.epochs
        self.num_steps = params.epochs * steps_per_epoch

    def clock(self) -> float:
        """Seconds of this process, whose times decide nothing."""
        return time.monotonic()

    def is_spent(self, epochs: int, seconds: float) -> bool:
        """By the number of epochs."""
        return epochs >= self.num_epochs

    def share(self, step: int, seconds: float) -> float:
        """By the number of the step."""
        return step / self.num_steps

    def learning_rate(self, step: int, seconds: float) -> float:
        """By the number of the step."""
        return learning_rate(step, self.num_steps, self._params)


class TimeBudget(TrainingBudget):
    """So many seconds of steps, validation apart: the last epoch ends where they do.

    Args:
        params: parameters of the training.
        processes: processes that train together, and end at one step.
    """

    def __init__(self, params: TrainConfig, processes: Processes) -> None:
        super().__init__(params)
        self._processes = processes

    def clock(self) -> float:
        """Seconds of the main process in all, so that all end at one step."""
        return sum(self._processes.sum([time.monotonic() if self._processes.is_main else 0.0]))

    def is_spent(self, epochs: int, seconds: float) -> bool:
        """By the time, in the middle of an epoch too."""
        return seconds >= self._params.seconds

    def share(self, step: int, seconds: float) -> float:
        """By the time."""
        return min(1.0, seconds / self._params.seconds)

    def learning_rate(self, step: int, seconds: float) -> float:
        """By the time."""
        return learning_rate(TICKS * seconds / self._params.seconds, TICKS, self._params)


def make_budget(params: TrainConfig, steps_per_epoch: int, processes: Processes) -> TrainingBudget:
    """Make the budget that `train.budget` names."""
    if params.budget == "seconds":
        return TimeBudget(params, processes)
    return EpochBudget(params, steps_per_epoch)
