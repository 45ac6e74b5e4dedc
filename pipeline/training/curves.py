"""Record a training's curve as CSV, a row per epoch, and show progress on the console."""

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
# A loss has fallen if its last epoch's mean is below this share of the first one's.
LEARNED = 0.9


@dataclass
class EpochSums:
    """Sums of the curve's columns over an epoch; `counts` counts a column's finite values; kept in checkpoints."""

    totals: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0

    def add(self, values: Mapping[str, float], seconds: float) -> None:
        """Add a step; non-finite values count as undefined."""
        for name, value in values.items():
            is_defined = math.isfinite(value)
            self.totals[name] = self.totals.get(name, 0.0) + (value if is_defined else 0.0)
            self.counts[name] = self.counts.get(name, 0) + is_defined
        self.steps += 1
        self.seconds += seconds

    def means(self) -> Row:
        """Return the mean of each column over its finite steps, NaN if there are none."""
        return {
            name: total / self.counts[name] if self.counts[name] else math.nan for name, total in self.totals.items()
        }


def write_curves(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as CSV atomically."""
    with whole_file(path) as part:
        pd.DataFrame(rows).to_csv(part, index=False, na_rep="nan", lineterminator=os.linesep)


def unlearned(curve: pd.DataFrame) -> str:
    """Say which loss hardly fell over the epochs, and what to change; empty where all fell or there is one epoch.

    Any loss counts: cross-entropy alone falls as soon as everything is background.
    """
    for name in ("loss_dice", "loss_ce"):
        if len(curve) > 1 and name in curve and curve[name].iloc[-1] > LEARNED * curve[name].iloc[0]:
            return (
                f"{name} went from {curve[name].iloc[0]:.3f} to {curve[name].iloc[-1]:.3f} in {len(curve)} epochs: the "
                f"network hardly learned. Its learning rate was {curve['lr'].max():.2g} at most: try others "
                "(`dvc exp run --queue -S train.lr=2e-3,8e-3`), or more train.epochs."
            )
    return ""


def peak_memory_mb(device: torch.device) -> float:
    """Return this process's peak memory, MiB: of its GPU, or resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


class TrainingProgress:
    """Shows progress: a bar on a terminal, else a line per epoch; `num_epochs` None: a time budget."""

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
        """Show the bar during a run that starts after `done` steps."""
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
