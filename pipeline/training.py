"""The training loop: epochs, validation, checkpoints; resumes exactly where it stopped."""

import logging
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossmodalnet.data.dataset import LabelledCase, TrainingSet, sample_seed
from pipeline.checkpoint import Checkpoint, exclusive, prefixed, read_checkpoint, write_checkpoint
from pipeline.curves import EpochSums, Row
from pipeline.determinism import reproducible
from pipeline.distributed import Processes
from pipeline.errors import InterruptedRunError
from pipeline.launch import StopRequest
from pipeline.learner import Learner, learning_rate
from pipeline.params.train import TrainParams
from pipeline.progress import TrainingProgress, peak_memory_mb
from pipeline.validation import validate

logger = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.safetensors"
# Where time is the budget, its share in these takes the place of the step's number.
TICKS = 10_000


@dataclass
class Course:
    """How far a training is.

    Attributes:
        sums: of the epoch under way; its `steps` say where in the epoch it is.
        epoch: the one under way, counted from 0.
        rows: of the finished epochs.
        best: weights with the best validation Dice so far.
        best_dice: their score; -1 before the first validation.
        best_epoch: theirs, counted from 1.
    """

    sums: EpochSums
    epoch: int = 0
    rows: list[Row] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_dice: float = -1.0
    best_epoch: int = 0

    @property
    def seconds(self) -> float:
        """Time spent on steps, over all runs."""
        return sum(row["seconds"] for row in self.rows) + self.sums.seconds

    def state(self) -> dict[str, Any]:
        """Plain values."""
        values = {name: getattr(self, name) for name in ("epoch", "rows", "best_dice", "best_epoch")}
        return {**values, "sums": self.sums.state()}


class Trainer:
    """Trains a network; every process of a training has one.

    Args:
        learner: what learns.
        training: where batches come from.
        validation: cases that choose the best weights.
        params: of the training.
        seed: of what is random in a step.
        processes: which train together.
        work: folder of the checkpoint, used by the main process alone.
    """

    def __init__(
        self,
        learner: Learner,
        training: TrainingSet,
        validation: Sequence[LabelledCase],
        params: TrainParams,
        seed: int,
        processes: Processes,
        work: Path,
    ) -> None:
        self._learner = learner
        self._training = training
        self._validation = validation
        self._params = params
        self._seed = seed
        self._processes = processes
        self._checkpoint = work / CHECKPOINT
        self._course = Course(EpochSums.start(learner.names))

    @property
    def num_steps(self) -> int | None:
        """Steps of the whole training, where they are its budget."""
        return self._params.epochs * self._training.steps_per_epoch if self._counts_epochs else None

    @property
    def _counts_epochs(self) -> bool:
        return self._params.budget == "epochs"

    @property
    def _finished(self) -> bool:
        """Whether the budget is used up."""
        course, params = self._course, self._params
        return course.epoch >= params.epochs if self._counts_epochs else course.seconds >= params.seconds

    def run(self) -> Course:
        """Train to the end, from where an earlier run with the same parameters stopped.

        Raises:
            InterruptedRunError: stopped by SIGTERM or SIGINT, after writing a checkpoint.
            DataError: a loss or a weight is not finite, or the checkpoint is damaged.
        """
        lock = exclusive(self._checkpoint.parent) if self._processes.is_main else nullcontext()
        with lock, StopRequest() as stop, reproducible(self._processes, self._params.num_threads):
            self._resume()
            course = self._course
            done = course.epoch * self._training.steps_per_epoch + course.sums.steps
            progress = TrainingProgress(
                num_epochs=self._params.epochs if self._counts_epochs else None,
                num_steps=self.num_steps,
                done=done,
                device=self._processes.device,
                shown=self._processes.is_main,
            )
            with progress:
                while not self._finished:
                    self._run_epoch(progress, stop)
            self._learner.check_finite()
        return course

    def last_weights(self) -> dict[str, Tensor]:
        """The weights as they are now."""
        return self._learner.evaluated.state_dict()

    def _run_epoch(self, progress: TrainingProgress, stop: StopRequest) -> None:
        course, size, learner = self._course, self._params.batch_size, self._learner
        last = self._clock()
        batches = self._training.batches(
            course.epoch,
            first_step=course.sums.steps,
            rank=self._processes.rank,
            world_size=self._processes.world_size,
            threads=_augmenting_threads(self._processes),
        )
        for batch in batches:
            step = course.sums.steps
            number = course.epoch * self._training.steps_per_epoch + step
            # Seeded by the step, stochastic depth and the like need no generator's state to resume.
            torch.manual_seed(sample_seed(self._seed, 1, number, self._processes.rank))
            weights = learner.weights
            place = f"epoch {course.epoch + 1}, step {step + 1}"
            losses = learner.step(batch, self._learning_rate(number), number, place)
            now = self._clock()
            course.sums.add(losses, weights, now - last)
            balanced = sum(weight * loss for weight, loss in zip(weights, losses, strict=True))
            progress.step(course.epoch, balanced, size / max(now - last, 1e-9))
            last = now
            self._stop_if_asked(stop)
            if not self._counts_epochs and self._finished:
                batches.close()
                break
        self._end_epoch(progress)

    def _clock(self) -> float:
        """Seconds; where time is the budget, those of the main process in all, so that all end at one step."""
        now = time.monotonic()
        if self._counts_epochs:
            return now
        return sum(self._processes.sum([now if self._processes.is_main else 0.0]))

    def _learning_rate(self, number: int) -> float:
        """Learning rate of a step, by its number or by the share of the time that has gone."""
        if self.num_steps is not None:
            return learning_rate(number, self.num_steps, self._params)
        return learning_rate(TICKS * self._course.seconds / self._params.seconds, TICKS, self._params)

    def _end_epoch(self, progress: TrainingProgress) -> None:
        course, params = self._course, self._params
        is_last = course.epoch + 1 == params.epochs if self._counts_epochs else self._finished
        # The first epoch too, so that a curve never starts from a number that was not measured.
        validated = is_last or course.epoch == 0 or (course.epoch + 1) % params.validate_every == 0
        val_dice = self._validate() if validated else course.rows[-1]["val_dice"]
        memory = max(self._processes.gather(peak_memory_mb(self._processes.device)))
        steps = course.sums.steps
        row = course.sums.row(
            course.epoch,
            lr=self._learning_rate(course.epoch * self._training.steps_per_epoch + steps - 1),
            val_dice=val_dice,
            num_samples=steps * params.batch_size,
            peak_memory_mb=memory,
        )
        course.rows.append(row)
        progress.epoch(row, validated=validated)
        course.epoch += 1
        course.sums = EpochSums.start(self._learner.names)
        if is_last or course.epoch % params.checkpoint_every == 0:
            self._save()

    def _validate(self) -> float:
        course = self._course
        dice = validate(
            self._learner.evaluated,
            self._validation,
            patch_size=self._params.patch_size,
            precision=self._learner.autocast(),
            processes=self._processes,
        )
        if dice >= course.best_dice:  # of equal ones the later: it has seen more
            course.best_dice, course.best_epoch = dice, course.epoch + 1
            course.best = {
                name: tensor.detach().cpu().clone() for name, tensor in self.last_weights().items()
            }
        return dice

    def _stop_if_asked(self, stop: StopRequest) -> None:
        """End at the same step in all processes when one of them has been asked to."""
        if not sum(self._processes.sum([float(stop.received)])):
            return
        self._save()
        steps, course = self._training.steps_per_epoch, self._course
        of = f" of {self._params.epochs}" if self._counts_epochs else ""
        raise InterruptedRunError(
            f"training stopped in epoch {course.epoch + 1}{of}, "
            f"step {course.sums.steps} of {steps}; run it again to go on from there"
        )

    def _save(self) -> None:
        if not self._processes.is_main:
            return
        tensors = self._learner.tensors(finished=self._finished) | prefixed("best", self._course.best)
        values = {"course": self._course.state(), **self._learner.values()}
        write_checkpoint(self._checkpoint, Checkpoint(tensors, values))

    def _resume(self) -> None:
        # The other processes may be on machines that do not see the main one's files.
        found = self._processes.broadcast(
            read_checkpoint(self._checkpoint) if self._processes.is_main else None
        )
        if found is None:
            return
        self._learner.restore(found)
        values = dict(found.values["course"])
        sums = EpochSums(**values.pop("sums"), names=self._learner.names)
        self._course = Course(sums, **values, best=found.part("best"))
        if self._processes.is_main:
            logger.info(
                "%s (%s)",
                "trained before with these parameters, data and code: taking the result"
                if self._finished
                else f"going on in epoch {self._course.epoch + 1}, step {sums.steps + 1}",
                self._checkpoint,
            )


def _augmenting_threads(processes: Processes) -> int:
    """One thread beside the computing CPU; as many as there are cores where a GPU computes."""
    if processes.device.type == "cpu":
        return 1
    return max(1, min(8, len(os.sched_getaffinity(0)) // processes.local_world_size))
