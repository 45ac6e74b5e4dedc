"""The training loop: epochs, validation, checkpoints; resumes exactly where it stopped."""

import logging
import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossmodalnet.errors import InterruptedRunError
from crossmodalnet.imaging.samples import Batch, LabelledCase
from crossmodalnet.metrics.overlap import mean_dice
from crossmodalnet.networks.common.sliding_window import predict_probabilities
from crossmodalnet.training.adaptation.term import balanced_entropy
from crossmodalnet.training.dataset import TrainingSet, sample_seed
from pipeline.config.sections import TrainConfig
from pipeline.training.budget import make_budget
from pipeline.training.checkpoint import (
    Checkpoint,
    candidate_file,
    exclusive,
    find_candidates,
    prefixed,
    read_checkpoint,
    save_tensors,
    write_checkpoint,
)
from pipeline.training.cohort import TargetDomain, TargetStream
from pipeline.training.curves import (
    EpochSums,
    Row,
    TrainingProgress,
    balanced_loss,
    peak_memory_mb,
    write_curves,
)
from pipeline.training.launch import StopRequest
from pipeline.training.learner import Learner
from pipeline.training.processes import Processes, reproducible


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


@dataclass(frozen=True)
class ValidationSettings:
    """How a network sees cases.

    Attributes:
        patch_size: voxels that the network sees at once.
        precision: precision of the forward passes.
        processes: processes among which the cases are shared out.
    """

    patch_size: tuple[int, int, int]
    precision: Callable[[], AbstractContextManager[object]]
    processes: Processes


logger = logging.getLogger(__name__)


CHECKPOINT = "checkpoint.safetensors"
# Weight of the target's entropy (0 to 1) against the source's Dice in the choice of an adaptation's weights.
ENTROPY_WEIGHT = 1.0
# Columns of a curve that come from validation; the last two of adaptations only.
VALIDATION = ("val_dice", "target_entropy", "score")


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
        curve: file of the curve, written anew after every epoch, so that it can be looked at while training.
    """

    def __init__(
        self,
        learner: Learner,
        training: TrainingSet,
        validation: Sequence[LabelledCase],
        params: TrainConfig,
        seed: int,
        processes: Processes,
        work: Path,
        target: TargetDomain | None = None,
        curve: Path | None = None,
    ) -> None:
        self._learner = learner
        self._training = training
        self._validation = validation
        self._params = params
        self._seed = seed
        self._processes = processes
        self._work = work
        self._target = target
        self._curve = curve
        self._budget = make_budget(params, training.steps_per_epoch, processes)
        self._checkpoint = work / CHECKPOINT
        self._state = TrainingState(EpochSums.start(learner.names, learner.measures))

    def run(self) -> TrainingState:
        """Train to the end, from where an earlier run with the same parameters stopped.

        Raises:
            InterruptedRunError: stopped by SIGTERM or SIGINT, after writing a checkpoint.
            DataError: a loss or a weight is not finite, or the checkpoint is damaged.
        """
        lock = exclusive(self._checkpoint.parent) if self._processes.is_main else nullcontext()
        with lock, StopRequest() as stop, reproducible(self._processes, self._params.num_threads):
            self._resume()
            progress = TrainingProgress(
                num_epochs=self._budget.num_epochs,
                num_steps=self._budget.num_steps,
                done=self._number,
                device=self._processes.device,
                shown=self._processes.is_main,
            )
            with progress:
                while not self._is_finished:
                    self._run_epoch(progress, stop)
                    self._end_epoch(progress)
            self._learner.check_finite()
        return self._state

    def last_weights(self) -> dict[str, Tensor]:
        """The weights as they are now."""
        return self._learner.evaluated.state_dict()

    def candidates(self) -> list[Path]:
        """Files of the weights that were validated; of an adaptation."""
        return [] if self._target is None else list(find_candidates(self._work).values())

    @property
    def _number(self) -> int:
        """Number of the coming step in the whole training."""
        return self._state.epoch * self._training.steps_per_epoch + self._state.sums.steps

    @property
    def _is_finished(self) -> bool:
        return self._budget.is_spent(self._state.epoch, self._state.seconds)

    def _run_epoch(self, progress: TrainingProgress, stop: StopRequest) -> None:
        """Take the steps of an epoch that are left, or as many as the budget allows."""
        state, size, last = self._state, self._params.batch_size, self._budget.clock()
        rank, world_size = self._processes.rank, self._processes.world_size
        threads = _augmenting_threads(self._processes)
        with ExitStack() as open_streams:
            batches = self._training.batches(
                state.epoch, first_step=state.sums.steps, rank=rank, world_size=world_size, threads=threads
            )
            open_streams.enter_context(closing(batches))
            targets = None
            if self._target is not None:
                targets = TargetStream(
                    self._target.samples, rank=rank, world_size=world_size, threads=threads
                )
                open_streams.enter_context(closing(targets))
            for batch in batches:
                weights = self._learner.weights
                losses, measures = self._step(batch, targets)
                now = self._budget.clock()
                state.sums.add(losses, weights, now - last, measures)
                progress.step(state.epoch, balanced_loss(losses, weights), size / max(now - last, 1e-9))
                last = now
                self._stop_if_asked(stop)
                if self._is_finished:
                    break

    def _step(self, batch: Batch, targets: TargetStream | None) -> tuple[list[float], list[float]]:
        """Take one step; gives its losses and figures."""
        state, learner, number = self._state, self._learner, self._number
        share = self._budget.share(number, state.seconds)
        batch_number = learner.target_batch_number(number, share)
        target = targets.batch(batch_number) if targets and batch_number is not None else None
        # Seeded by the step, stochastic depth and the like need no generator's state to resume.
        torch.manual_seed(sample_seed(self._seed, 1, number, self._processes.rank))
        return learner.step(
            batch,
            self._budget.learning_rate(number, state.seconds),
            number,
            f"epoch {state.epoch + 1}, step {state.sums.steps + 1}",
            target=target,
            progress=share,
        )

    def _end_epoch(self, progress: TrainingProgress) -> None:
        """Validate now and then, write the epoch's row, and begin the next one."""
        state, params = self._state, self._params
        is_last = self._budget.is_spent(state.epoch + 1, state.seconds)
        # The first epoch too, so that a curve never starts from a number that was not measured.
        validated = is_last or state.epoch == 0 or (state.epoch + 1) % params.validate_every == 0
        validation = self._validate() if validated else _validation_of(state.rows[-1])
        memory = max(self._processes.gather(peak_memory_mb(self._processes.device)))
        row = state.sums.row(
            state.epoch,
            lr=self._budget.learning_rate(self._number - 1, state.seconds),
            validation=validation,
            num_samples=state.sums.steps * params.batch_size,
            peak_memory_mb=memory,
        )
        state.rows.append(row)
        if self._curve is not None and self._processes.is_main:
            write_curves(self._curve, state.rows)
        progress.epoch(row, validated=validated)
        state.epoch += 1
        state.sums = EpochSums.start(self._learner.names, self._learner.measures)
        self._save()

    def _validate(self) -> dict[str, float]:
        """Score the weights, and keep them if none were better; gives the columns of the curve."""
        state, learner = self._state, self._learner
        settings = ValidationSettings(self._params.patch_size, learner.autocast, self._processes)
        row = {"val_dice": validate(learner.evaluated, self._validation, settings)}
        score = row["val_dice"]
        if self._target is not None:
            row["target_entropy"] = target_entropy(learner.evaluated, self._target.cases, settings)
            score -= ENTROPY_WEIGHT * row["target_entropy"]
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
        of = f" of {self._budget.num_epochs}" if self._budget.num_epochs else ""
        raise InterruptedRunError(
            f"training stopped in epoch {self._state.epoch + 1}{of}, "
            f"step {self._state.sums.steps} of {self._training.steps_per_epoch}; run it again to go on from there"
        )

    def _save(self) -> None:
        if not self._processes.is_main:
            return
        tensors = self._learner.tensors(finished=self._is_finished) | prefixed("best", self._state.best)
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
                if self._is_finished
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


OVERLAP = 0.25


def validate(network: nn.Module, cases: Sequence[LabelledCase], settings: ValidationSettings) -> float:
    """Mean over cases of their mean Dice."""

    def dice(case: LabelledCase, probabilities: Tensor) -> float:
        return mean_dice(probabilities.argmax(0).cpu(), case.label, probabilities.shape[0])

    return _mean_over_cases(dice, network, cases, settings)


def target_entropy(network: nn.Module, cases: Sequence[LabelledCase], settings: ValidationSettings) -> float:
    """Mean over images of how unsure the network is of them, 0 to 1; their labels are not looked at."""
    return _mean_over_cases(
        lambda _, probabilities: balanced_entropy(probabilities), network, cases, settings
    )


def _mean_over_cases(
    score: Callable[[LabelledCase, Tensor], float],
    network: nn.Module,
    cases: Sequence[LabelledCase],
    settings: ValidationSettings,
) -> float:
    processes, scores = settings.processes, [0.0] * len(cases)
    with settings.precision():
        for number in range(processes.rank, len(cases), processes.world_size):
            image = cases[number].image.to(processes.device)
            probabilities = predict_probabilities(
                network, image, patch_size=settings.patch_size, overlap=OVERLAP
            )
            scores[number] = score(cases[number], probabilities)
    # One process gives a score, the others zeros: the sum does not depend on their number.
    return sum(processes.sum(scores)) / len(cases)
