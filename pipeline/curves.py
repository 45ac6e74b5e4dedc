"""The course of a training: one row per epoch, kept in checkpoints and written as CSV."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, float]


@dataclass
class EpochSums:
    """What adds up over the steps of an epoch; goes into checkpoints, for an epoch can be interrupted.

    Attributes:
        losses: sum of each raw loss.
        weights: sum of each balancing weight.
        total: sum of the balanced loss.
        steps: how many were taken.
        seconds: spent on them, over all runs.
    """

    losses: list[float]
    weights: list[float]
    total: float = 0.0
    steps: int = 0
    seconds: float = 0.0
    names: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def start(cls, names: Sequence[str]) -> "EpochSums":
        """Begin an epoch."""
        return cls([0.0] * len(names), [0.0] * len(names), names=tuple(names))

    def add(self, losses: Sequence[float], weights: Sequence[float], seconds: float) -> None:
        """Count a step."""
        self.losses = [total + value for total, value in zip(self.losses, losses, strict=True)]
        self.weights = [total + value for total, value in zip(self.weights, weights, strict=True)]
        self.total += sum(weight * loss for weight, loss in zip(weights, losses, strict=True))
        self.steps += 1
        self.seconds += seconds

    def row(self, epoch: int, *, lr: float, val_dice: float, num_samples: int, peak_memory_mb: float) -> Row:
        """Turn the sums into the epoch's row; `epoch` is printed counted from 1."""
        return {
            "epoch": epoch + 1,
            "loss": self.total / self.steps,
            **{f"loss_{n}": v / self.steps for n, v in zip(self.names, self.losses, strict=True)},
            **{f"weight_{n}": v / self.steps for n, v in zip(self.names, self.weights, strict=True)},
            "lr": lr,
            "val_dice": val_dice,
            "seconds": round(self.seconds, 3),
            "samples_per_second": round(num_samples / max(self.seconds, 1e-9), 3),
            "peak_memory_mb": round(peak_memory_mb, 1),
        }

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in ("losses", "weights", "total", "steps", "seconds")}


def write_curves(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as CSV, under a temporary name first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator=os.linesep)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)
