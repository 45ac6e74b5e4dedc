"""The course of a training: a row per epoch in a CSV file, and progress on the console."""

import logging
import math
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crossmodalnet.io.console import is_terminal
from crossmodalnet.io.outputs import whole_file

Row = dict[str, float]
logger = logging.getLogger(__name__)


@dataclass
class EpochSums:
    """Sums over the steps of an epoch by column of the curve; checkpoints keep them.

    Attributes:
        totals: sum of each column over the steps where it was finite.
        counts: number of these steps.
        steps: number of steps taken.
        seconds: seconds spent on steps, over all runs.
    """

    totals: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0

    def add(self, values: Mapping[str, float], seconds: float) -> None:
        """Count a step; values that are not finite were undefined in it."""
        for name, value in values.items():
            is_defined = math.isfinite(value)
            self.totals[name] = self.totals.get(name, 0.0) + (value if is_defined else 0.0)
            self.counts[name] = self.counts.get(name, 0) + is_defined
        self.steps += 1
        self.seconds += seconds

    def means(self) -> Row:
        """Give the mean of each column over the steps that had it, NaN where none had."""
        return {
            name: total / self.counts[name] if self.counts[name] else math.nan
            for name, total in self.totals.items()
        }


def write_curves(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as CSV, under a temporary name first."""
    with whole_file(path) as part:
        pd.DataFrame(rows).to_csv(part, index=False, na_rep="nan", lineterminator=os.linesep)


def peak_memory_mb(device: torch.device) -> float:
    """Largest memory this process has used: of its GPU, or resident where it computes on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


class TrainingProgress:
    """Shows the progress of a training: a bar on a terminal, a line per epoch elsewhere.

    Args:
        num_epochs: number of epochs of the whole training; None where time is the budget.
        steps_per_epoch: number of steps of an epoch.
        device: device whose memory is shown.
    """

    def __init__(self, num_epochs: int | None, steps_per_epoch: int, device: torch.device) -> None:
        self._of = f"/{num_epochs}" if num_epochs else ""
        self._device = device
        self._dice = "-"
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not is_terminal(),
        )
        total = num_epochs * steps_per_epoch if num_epochs else None
        self._task = self._bar.add_task("train", total=total, epoch="-", numbers="")

    @contextmanager
    def shown(self, done: int) -> Iterator["TrainingProgress"]:
        """Show the bar during a run of the training, `done` steps after its start."""
        with self._bar:
            self._bar.update(self._task, completed=done)
            yield self

    def step(self, epoch: int, loss: float, samples_per_second: float) -> None:
        """Show a step."""
        if not self._bar.disable:
            numbers = (
                f"loss {loss:.4f}  Dice {self._dice}  {samples_per_second:.1f} samples/s  "
                f"{peak_memory_mb(self._device):.0f} MB"
            )
            self._bar.update(self._task, advance=1, epoch=f"{epoch + 1}{self._of}", numbers=numbers)

    def epoch(self, row: Row, *, validated: bool) -> None:
        """Show the end of an epoch."""
        self._dice = f"{row['val_dice']:.4f}" if validated else self._dice
        if self._bar.disable:
            losses = " ".join(
                f"{name.removeprefix('loss_')} {value:.4f}"
                for name, value in row.items()
                if name.startswith("loss_") and math.isfinite(value)
            )
            logger.info(
                "epoch %d%s  loss %.4f (%s)  Dice %s  %.1f samples/s  %.0f MB",
                *(row["epoch"], self._of, row["loss"], losses, self._dice if validated else "-"),
                *(row["samples_per_second"], row["peak_memory_mb"]),
            )
