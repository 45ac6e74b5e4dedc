"""What one sees of a training: a live bar on a terminal, one line an epoch elsewhere."""

import logging
import math
import resource
from types import TracebackType

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.runtime.console import is_terminal
from pipeline.training.curves import Row

logger = logging.getLogger(__name__)


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
