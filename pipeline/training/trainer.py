"""The training loop: epochs, validation, checkpoints; resumes exactly where it stopped."""

import logging
import math
import os
import time
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossmodalnet.data.dataset import Batch, LabelledCase, TrainingSet, sample_seed
from pipeline.common.errors import InterruptedRunError
from pipeline.compute.determinism import reproducible
from pipeline.compute.distributed import Processes
from pipeline.compute.launch import StopRequest
from pipeline.models.candidates import candidate_file, find_candidates
from pipeline.models.checkpoint import (
    Checkpoint,
    exclusive,
    prefixed,
    read_checkpoint,
    save_tensors,
    write_checkpoint,
)
from pipeline.training.curves import EpochSums, Row, balanced_loss
from pipeline.training.extra_objective import TargetBatch
from pipeline.training.learner import Learner, learning_rate
from pipeline.training.params import TrainParams
from pipeline.training.progress import TrainingProgress, peak_memory_mb
from pipeline.training.validation import ValidationSettings, target_entropy, validate

logger = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.safetensors"
# Where time is the budget, its share in these takes the place of the step's number.
TICKS = 10_000
# Columns of a curve that come from validation; the last two of adaptations only.
VALIDATION = ("val_dice", "target_entropy", "score")


@dataclass(frozen=True)
class TargetDomain:
    """The domain that a training adapts to; nothing here looks at a label of it.

    Attributes:
        samples: samples that batches of the target domain come from.
        cases: images whose entropy helps to choose the best weights.
        entropy_weight: weight of the cases' mean entropy (0 to 1) against the source's Dice.
    """

    samples: TrainingSet
    cases: Sequence[LabelledCase]
    entropy_weight: float


@dataclass
class TrainingState:
    """How far a training is.

    Attributes:
        sums: sums of the epoch under way; its `steps` say where in the epoch it is.
        epoch: the one under way, counted from 0.
        rows: rows of the finished epochs.
        best: weights with the best validation score so far.
        best_score: validation score of the best weights; -inf before the first validation.
        best_dice: validation Dice of the best weights.
        best_epoch: epoch of the best weights, counted from 1.
    """

    sums: EpochSums
    epoch: int = 0
    rows: list[Row] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_score: float = -math.inf
    best_dice: float = -1.0
    best_epoch: int = 0

    @property
    def seconds(self) -> float:
        """Time spent on steps, over all runs."""
        return sum(row["seconds"] for row in self.rows) + self.sums.seconds

    def state(self) -> dict[str, Any]:
        """Plain values."""
        names = ("epoch", "rows", "best_score", "best_dice", "best_epoch")
        values = {name: getattr(self, name) for name in names}
        return {**values, "sums": self.sums.state()}


class Trainer:
    """Trains a network; every process of a training has one.

    Args:
        learner: learner that takes the steps.
        training: samples that batches come from.
        validation: cases that choose the best weights.
        params: parameters of the training.
        seed: seed of what is random in a step.
        processes: processes that train together.
        work: folder of the checkpoint, used by the main process alone.
        target: the domain to adapt to, if there is one.
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
        target: TargetDomain | None = None,
    ) -> None:
        self._target = target
        self._learner = learner
        self._training = training
        self._validation = validation
        self._params = params
        self._seed = seed
        self._processes = processes
        self._work = work
        self._checkpoint = work / CHECKPOINT
        self._state = TrainingState(EpochSums.start(learner.names, learner.measures))

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
        state, params = self._state, self._params
        return state.epoch >= params.epochs if self._counts_epochs else state.seconds >= params.seconds

    def run(self) -> TrainingState:
        """Train to the end, from where an earlier run with the same parameters stopped.

        Raises:
            InterruptedRunError: stopped by SIGTERM or SIGINT, after writing a checkpoint.
            DataError: a loss or a weight is not finite, or the checkpoint is damaged.
        """
        lock = exclusive(self._checkpoint.parent) if self._processes.is_main else nullcontext()
        with lock, StopRequest() as stop, reproducible(self._processes, self._params.num_threads):
            self._resume()
            state = self._state
            done = state.epoch * self._training.steps_per_epoch + state.sums.steps
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
        return state

    def last_weights(self) -> dict[str, Tensor]:
        """The weights as they are now."""
        return self._learner.evaluated.state_dict()

    def candidates(self) -> list[Path]:
        """Files of the weights that were validated; of an adaptation."""
        return [] if self._target is None else list(find_candidates(self._work).values())

    def _run_epoch(self, progress: TrainingProgress, stop: StopRequest) -> None:
        state, size, learner = self._state, self._params.batch_size, self._learner
        last = self._clock()
        rank, world_size = self._processes.rank, self._processes.world_size
        threads = _augmenting_threads(self._processes)
        batches = self._training.batches(
            state.epoch, first_step=state.sums.steps, rank=rank, world_size=world_size, threads=threads
        )
        targets: Generator[Batch, None, None] | None = None
        for batch in batches:
            step = state.sums.steps
            number = state.epoch * self._training.steps_per_epoch + step
            progress_made = self._progress(number)
            batch_number = learner.target_batch_number(number, progress_made) if self._target else None
            target: TargetBatch | None = None
            if self._target and batch_number is not None:
                targets = targets or self._target.samples.stream(
                    batch_number, rank=rank, world_size=world_size, threads=threads
                )
                target = TargetBatch(next(targets).image, batch_number)
            # Seeded by the step, stochastic depth and the like need no generator's state to resume.
            torch.manual_seed(sample_seed(self._seed, 1, number, self._processes.rank))
            weights = learner.weights
            step_name = f"epoch {state.epoch + 1}, step {step + 1}"
            losses, measures = learner.step(
                batch,
                self._learning_rate(number),
                number,
                step_name,
                target=target,
                progress=progress_made,
            )
            now = self._clock()
            state.sums.add(losses, weights, now - last, measures)
            progress.step(state.epoch, balanced_loss(losses, weights), size / max(now - last, 1e-9))
            last = now
            self._stop_if_asked(stop)
            if not self._counts_epochs and self._finished:
                break
        batches.close()
        if targets:
            targets.close()
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
        return learning_rate(TICKS * self._state.seconds / self._params.seconds, TICKS, self._params)

    def _progress(self, number: int) -> float:
        """Share of the budget that is used up before a step, 0 to 1."""
        if self.num_steps is not None:
            return number / self.num_steps
        return min(1.0, self._state.seconds / self._params.seconds)

    def _end_epoch(self, progress: TrainingProgress) -> None:
        state, params = self._state, self._params
        is_last = state.epoch + 1 == params.epochs if self._counts_epochs else self._finished
        # The first epoch too, so that a curve never starts from a number that was not measured.
        validated = is_last or state.epoch == 0 or (state.epoch + 1) % params.validate_every == 0
        validation = self._validate() if validated else _validation_of(state.rows[-1])
        memory = max(self._processes.gather(peak_memory_mb(self._processes.device)))
        steps = state.sums.steps
        row = state.sums.row(
            state.epoch,
            lr=self._learning_rate(state.epoch * self._training.steps_per_epoch + steps - 1),
            validation=validation,
            num_samples=steps * params.batch_size,
            peak_memory_mb=memory,
        )
        state.rows.append(row)
        progress.epoch(row, validated=validated)
        state.epoch += 1
        state.sums = EpochSums.start(self._learner.names, self._learner.measures)
        if is_last or state.epoch % params.checkpoint_every == 0:
            self._save()

    def _validate(self) -> dict[str, float]:
        """Score the weights, and keep them if none were better; gives the columns of the curve."""
        state, learner = self._state, self._learner
        settings = ValidationSettings(self._params.patch_size, learner.autocast, self._processes)
        row = {"val_dice": validate(learner.evaluated, self._validation, settings)}
        score = row["val_dice"]
        if self._target is not None:
            row["target_entropy"] = target_entropy(learner.evaluated, self._target.cases, settings)
            score -= self._target.entropy_weight * row["target_entropy"]
            row["score"] = score
            if self._processes.is_main:
                save_tensors(
                    candidate_file(self._work, state.epoch + 1), self.last_weights(), {"format": "pt"}
                )
        if score >= state.best_score:  # of equal ones the later: it has seen more
            state.best_score, state.best_dice, state.best_epoch = score, row["val_dice"], state.epoch + 1
            state.best = {name: tensor.detach().cpu().clone() for name, tensor in self.last_weights().items()}
        return row

    def _stop_if_asked(self, stop: StopRequest) -> None:
        """End at the same step in all processes when one of them has been asked to."""
        if not sum(self._processes.sum([float(stop.received)])):
            return
        self._save()
        steps, state = self._training.steps_per_epoch, self._state
        of = f" of {self._params.epochs}" if self._counts_epochs else ""
        raise InterruptedRunError(
            f"training stopped in epoch {state.epoch + 1}{of}, "
            f"step {state.sums.steps} of {steps}; run it again to go on from there"
        )

    def _save(self) -> None:
        if not self._processes.is_main:
            return
        tensors = self._learner.tensors(finished=self._finished) | prefixed("best", self._state.best)
        values = {"course": self._state.state(), **self._learner.values()}
        write_checkpoint(self._checkpoint, Checkpoint(tensors, values))

    def _resume(self) -> None:
        # The other processes may be on machines that do not see the main one's files.
        checkpoint = self._processes.broadcast(
            read_checkpoint(self._checkpoint) if self._processes.is_main else None
        )
        if checkpoint is None:
            return
        self._learner.restore(checkpoint)
        values = dict(checkpoint.values["course"])
        sums = EpochSums(
            **values.pop("sums"), names=self._learner.names, measure_names=self._learner.measures
        )
        self._state = TrainingState(sums, **values, best=checkpoint.part("best"))
        if self._processes.is_main:
            logger.info(
                "%s (%s)",
                "trained before with these parameters, data and code: taking the result"
                if self._finished
                else f"going on in epoch {self._state.epoch + 1}, step {sums.steps + 1}",
                self._checkpoint,
            )


def _validation_of(row: Row) -> Row:
    return {name: row[name] for name in VALIDATION if name in row}


def _augmenting_threads(processes: Processes) -> int:
    """One thread beside the computing CPU; as many as there are cores where a GPU computes."""
    if processes.device.type == "cpu":
        return 1
    return max(1, min(8, len(os.sched_getaffinity(0)) // processes.local_world_size))
