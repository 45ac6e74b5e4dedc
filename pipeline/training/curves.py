"""The course of a training: a row per epoch as CSV, and progress on the terminal."""

import csv
import logging
import math
import os
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crossmodalnet.io.console import is_terminal
from crossmodalnet.io.outputs import whole_file

logger = logging.getLogger(__name__)


Row = dict[str, float]


@dataclass
class EpochSums:
    """What adds up over the steps of an epoch; goes into checkpoints, for an epoch can be interrupted.

    Attributes:
        losses: sum of each raw loss over the steps that had it.
        counted: number of steps that had each loss.
        weights: sum of each balancing weight.
        measures: sum of each figure over the steps that had it.
        measured: number of steps that had each figure.
        total: sum of the balanced loss.
        steps: number of steps taken.
        seconds: seconds spent on steps, over all runs.
    """

    losses: list[float]
    counted: list[int]
    weights: list[float]
    measures: list[float] = field(default_factory=list)
    measured: list[int] = field(default_factory=list)
    total: float = 0.0
    steps: int = 0
    seconds: float = 0.0
    names: tuple[str, ...] = field(default=(), repr=False)
    measure_names: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def start(cls, names: Sequence[str], measure_names: Sequence[str] = ()) -> "EpochSums":
        """Begin an epoch."""
        zeros, figures = [0.0] * len(names), len(measure_names)
        return cls(
            zeros.copy(),
            [0] * len(names),
            zeros.copy(),
            measures=[0.0] * figures,
            measured=[0] * figures,
            names=tuple(names),
            measure_names=tuple(measure_names),
        )

    def add(
        self,
        losses: Sequence[float],
        weights: Sequence[float],
        seconds: float,
        measures: Sequence[float] = (),
    ) -> None:
        """Count a step; losses and figures that are not finite were undefined in it."""
        _add_finite(self.losses, self.counted, losses)
        _add_finite(self.measures, self.measured, measures)
        self.weights = [total + value for total, value in zip(self.weights, weights, strict=True)]
        self.total += balanced_loss(losses, weights)
        self.steps += 1
        self.seconds += seconds

    def row(
        self,
        epoch: int,
        *,
        lr: float,
        validation: Mapping[str, float],
        num_samples: int,
        peak_memory_mb: float,
    ) -> Row:
        """Turn the sums into the epoch's row; `epoch` is printed counted from 1, what no step had as NaN."""
        return {
            "epoch": epoch + 1,
            "loss": self.total / self.steps,
            **_means([f"loss_{name}" for name in self.names], self.losses, self.counted),
            **{f"weight_{n}": v / self.steps for n, v in zip(self.names, self.weights, strict=True)},
            **_means(self.measure_names, self.measures, self.measured),
            "lr": lr,
            **validation,
            "seconds": round(self.seconds, 3),
            "samples_per_second": round(num_samples / max(self.seconds, 1e-9), 3),
            "peak_memory_mb": round(peak_memory_mb, 1),
        }

    def state(self) -> dict[str, Any]:
        """Plain values."""
        names = ("losses", "counted", "weights", "measures", "measured", "total", "steps", "seconds")
        return {name: getattr(self, name) for name in names}


def balanced_loss(losses: Sequence[float], weights: Sequence[float]) -> float:
    """What a step minimised: the weighted sum of the losses that it had, which are the finite ones."""
    terms = zip(losses, weights, strict=True)
    return sum(weight * loss for loss, weight in terms if math.isfinite(loss))


def _add_finite(sums: list[float], counts: list[int], values: Sequence[float]) -> None:
    for number, value in enumerate(values):
        if math.isfinite(value):
            sums[number] += value
            counts[number] += 1


def _means(names: Sequence[str], sums: Sequence[float], counts: Sequence[int]) -> Row:
    columns = zip(names, sums, counts, strict=True)
    return {name: total / count if count else math.nan for name, total, count in columns}


def write_curves(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as CSV, under a temporary name first."""
    with whole_file(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator=os.linesep)
        writer.writeheader()
        writer.writerows(rows)


def peak_memory_mb(device: torch.device) -> float:
    """Largest memory this process has used: of its GPU, or resident where it computes on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


class TrainingProgress:
    """Shows how far a training is; silent in all processes but the main one.

    Args:
        num_epochs: number of epochs of the whole training, if that is known.
        num_steps: number of steps of the whole training, if that is known.
        done: steps of earlier runs.
        device: device whose memory is shown.
        shown: whether this process is the one that shows.
    """

    def __init__(
        self, *, num_epochs: int | None, num_steps: int | None, done: int, device: torch.device, shown: bool
    ) -> None:
        self._of = f"/{num_epochs}" if num_epochs else ""
        self._device = device
        self._shown = shown
        self._dice = "-"
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  Dice {task.fields[dice]}  {task.fields[speed]} samples/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[memory]} MB"),
            console=Console(stderr=True),
            disable=not (shown and is_terminal()),
        )
        self._task = self._bar.add_task(
            "train", total=num_steps, completed=done, epoch="-", loss="-", dice="-", speed="-", memory="-"
        )

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, epoch: int, loss: float, samples_per_second: float) -> None:
        """Show a step."""
        if self._bar.disable:
            return
        self._bar.update(
            self._task,
            advance=1,
            epoch=f"{epoch + 1}{self._of}",
            loss=f"{loss:.4f}",
            dice=self._dice,
            speed=f"{samples_per_second:.1f}",
            memory=f"{peak_memory_mb(self._device):.0f}",
        )

    def epoch(self, row: Row, *, validated: bool) -> None:
        """Show the end of an epoch."""
        if validated:
            self._dice = f"{row['val_dice']:.4f}"
        if self._shown and self._bar.disable:
            losses = " ".join(
                f"{n.removeprefix('loss_')} {v:.4f}"
                for n, v in row.items()
                if n.startswith("loss_") and math.isfinite(v)
            )
            logger.info(
                "epoch %d%s  loss %.4f (%s)  Dice %s  %.1f samples/s  %.0f MB",
                *(row["epoch"], self._of, row["loss"], losses),
                self._dice if validated else "-",
                *(row["samples_per_second"], row["peak_memory_mb"]),
            )
