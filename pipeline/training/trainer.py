"""Run the training loop with validation, checkpoints and bit-exact resume."""

import logging
import math
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
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
from pipeline.training.cohort import TargetDomain
from pipeline.training.curves import EpochSums, Row, TrainingProgress, peak_memory_mb, write_curves
from pipeline.training.determinism import reproducible
from pipeline.training.learner import Learner
from pipeline.training.objectives import TargetBatch
from pipeline.training.processes import Processes, stop_requests

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
# Columns from validation; the last two only in adaptations.
VALIDATION = ("val_dice", "target_entropy", "score")
OVERLAP = 0.25


@dataclass
class TrainingState:
    """The course of a training so far.

    Attributes:
        epoch: current epoch, counted from 0.
        best_score: score of `best`; -inf before the first validation.
        best_epoch: epoch of `best`, counted from 1.
    """

    sums: EpochSums = field(default_factory=EpochSums)
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

    def values(self) -> dict[str, Any]:
        """Return the checkpoint's JSON values."""
        names = ("epoch", "rows", "best_score", "best_dice", "best_epoch")
        return {"sums": asdict(self.sums), **{name: getattr(self, name) for name in names}}


class Trainer:
    """Trains a network; every process has one, and the main one keeps the checkpoint in `work`."""

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
        self._state = TrainingState()

    def run(self) -> TrainingState:
        """Train to the end, resuming from an earlier run with the same parameters.

        Raises:
            InterruptedRunError: stopped by SIGTERM or SIGINT, after writing a checkpoint.
            DataError: a loss or a weight is not finite, or the checkpoint is damaged.
        """
        is_main, device = self._processes.is_main, self._processes.device
        lock = exclusive(self._work) if is_main else nullcontext()
        with lock, stop_requests() as is_stopped, reproducible(self._processes, self._params.num_threads):
            self._resume()
            progress = TrainingProgress(self._budget.num_epochs, self._training.steps_per_epoch, device)
            with progress.shown(self._step_number) if is_main else nullcontext():
                while not self._is_finished:
                    self._run_epoch(progress, is_stopped)
                    self._end_epoch(progress)
            self._learner.check_finite()
        return self._state

    def last_weights(self) -> dict[str, Tensor]:
        """Return the current weights."""
        return self._learner.evaluated.state_dict()

    def candidates(self) -> list[Path]:
        """Return the files of all validated weights of an adaptation."""
        return [] if self._target is None else list(find_candidates(self._work).values())

    @property
    def _step_number(self) -> int:
        """Number of the next step in the whole training."""
        return self._state.epoch * self._training.steps_per_epoch + self._state.sums.steps

    @property
    def _is_finished(self) -> bool:
        return self._budget.is_spent(self._state.epoch, self._state.seconds)

    def _run_epoch(self, progress: TrainingProgress, is_stopped: Callable[[], bool]) -> None:
        """Take the remaining steps of an epoch, within the budget."""
        state, size, last = self._state, self._params.batch_size, self._budget.clock()
        share = {
            "rank": self._processes.rank,
            "world_size": self._processes.world_size,
            "threads": _augmenting_threads(self._processes),
        }
        batches = self._training.batches(state.epoch, first_step=state.sums.steps, **share)
        with closing(batches), closing(self._target_batches(share)) as targets:
            for batch in batches:
                values = self._step(batch, targets)
                now = self._budget.clock()
                state.sums.add(values, now - last)
                if self._processes.is_main:
                    progress.step(state.epoch, values["loss"], size / max(now - last, 1e-9))
                last = now
                self._stop_if_asked(is_stopped)
                if self._is_finished:
                    break

    def _target_batches(self, share: Mapping[str, int]) -> Generator[Batch, None, None]:
        """Yield this process's share of the target batches, from the first one that a step of the epoch needs."""
        number = self._step_number
        first = self._learner.target_batch_number(number, self._budget.share(number, self._state.seconds))
        assert self._target is not None
        assert first is not None
        yield from self._target.samples.stream(first, **share)

    def _step(self, batch: Batch, targets: Iterator[Batch]) -> Row:
        state, learner, number = self._state, self._learner, self._step_number
        share = self._budget.share(number, state.seconds)
        batch_number = learner.target_batch_number(number, share)
        target = None if batch_number is None else TargetBatch(next(targets).image, batch_number)
        # Seeded by the step, so resuming needs no generator state for stochastic depth.
        torch.manual_seed(sample_seed(self._seed, 1, number, self._processes.rank))
        lr = self._budget.learning_rate(number, state.seconds)
        name = f"epoch {state.epoch + 1}, step {state.sums.steps + 1}"
        return learner.step(batch, lr, number, name, target=target, progress=share)

    def _end_epoch(self, progress: TrainingProgress) -> None:
        """Validate if due, write the epoch's row, and begin the next epoch."""
        state, params = self._state, self._params
        is_last = self._budget.is_spent(state.epoch + 1, state.seconds)
        # Validate the first epoch too, so every curve starts with a measurement.
        validated = is_last or state.epoch == 0 or (state.epoch + 1) % params.validate_every == 0
        last_row = state.rows[-1] if state.rows else {}
        validation = self._validate() if validated else {k: v for k, v in last_row.items() if k in VALIDATION}
        num_samples = state.sums.steps * params.batch_size
        row = {
            "epoch": state.epoch + 1,
            **state.sums.means(),
            "lr": self._budget.learning_rate(self._step_number - 1, state.seconds),
            **validation,
            "seconds": round(state.sums.seconds, 3),
            "samples_per_second": round(num_samples / max(state.sums.seconds, 1e-9), 3),
            "peak_memory_mb": round(max(self._processes.gather(peak_memory_mb(self._processes.device))), 1),
        }
        state.rows.append(row)
        if self._processes.is_main:
            if self._curve is not None:
                write_curves(self._curve, state.rows)
            progress.epoch(row, validated=validated)
        state.epoch += 1
        state.sums = EpochSums()
        self._save()

    def _validate(self) -> Row:
        """Validate the weights, keep the best, and return the columns of the curve."""
        state, learner = self._state, self._learner
        how = (learner.evaluated, self._params.patch_size, self._processes)
        with learner.autocast():
            row = {"val_dice": mean_over_cases(case_dice, self._validation, *how)}
            score = row["val_dice"]
            if self._target is not None:
                row["target_entropy"] = mean_over_cases(case_entropy, self._target.cases, *how)
                score -= row["target_entropy"]
                row["score"] = score
        if self._target is not None and self._processes.is_main:
            save_tensors(candidate_file(self._work, state.epoch + 1), self.last_weights(), {"format": "pt"})
        if score >= state.best_score:  # the later of equal ones
            state.best_score, state.best_dice, state.best_epoch = score, row["val_dice"], state.epoch + 1
            state.best = {name: tensor.detach().cpu().clone() for name, tensor in self.last_weights().items()}
        return row

    def _stop_if_asked(self, is_stopped: Callable[[], bool]) -> None:
        """Stop all processes at the same step if one of them got a signal."""
        if not sum(self._processes.sum([float(is_stopped())])):
            return
        self._save()
        of = f" of {self._budget.num_epochs}" if self._budget.num_epochs else ""
        raise InterruptedRunError(
            f"training stopped in epoch {self._state.epoch + 1}{of}, "
            f"step {self._state.sums.steps} of {self._training.steps_per_epoch}; run it again to go on from there"
        )

    def _save(self) -> None:
        if self._processes.is_main:
            tensors = self._learner.tensors(finished=self._is_finished) | prefixed("best", self._state.best)
            values = {"course": self._state.values(), **self._learner.values()}
            write_checkpoint(self._checkpoint, Checkpoint(tensors, values))

    def _resume(self) -> None:
        # Processes on other machines may not see the main one's files.
        checkpoint = self._processes.broadcast(read_checkpoint(self._checkpoint) if self._processes.is_main else None)
        if checkpoint is None:
            return
        self._learner.restore(checkpoint)
        values = dict(checkpoint.values["course"])
        self._state = TrainingState(EpochSums(**values.pop("sums")), **values, best=checkpoint.part("best"))
        if self._processes.is_main:
            logger.info(
                "%s (%s)",
                "trained before with these parameters, data and code: taking the result"
                if self._is_finished
                else f"going on in epoch {self._state.epoch + 1}, step {self._state.sums.steps + 1}",
                self._checkpoint,
            )


def _augmenting_threads(processes: Processes) -> int:
    """Return one augmenting thread for a computing CPU, or one per core for a GPU."""
    if processes.device.type == "cpu":
        return 1
    return max(1, min(8, len(os.sched_getaffinity(0)) // processes.local_world_size))


def case_dice(case: LabelledCase, probabilities: Tensor) -> float:
    """Compute the mean Dice of a case on the working grid from its class probabilities `(num_classes, d, h, w)`."""
    return mean_dice(probabilities.argmax(0).cpu(), case.label, probabilities.shape[0])


def case_entropy(case: LabelledCase, probabilities: Tensor) -> float:
    """Compute the balanced entropy (0 to 1) of a case's class probabilities; uses no label."""
    return balanced_entropy(probabilities)


def mean_over_cases(
    score: Callable[[LabelledCase, Tensor], float],
    cases: Sequence[LabelledCase],
    network: nn.Module,
    patch_size: tuple[int, int, int],
    processes: Processes,
) -> float:
    """Average the score of the network's output over cases; the processes share the cases."""
    scores = [0.0] * len(cases)
    for number in range(processes.rank, len(cases), processes.world_size):
        image = cases[number].image.to(processes.device)
        probabilities = predict_probabilities(network, image, patch_size=patch_size, overlap=OVERLAP)
        scores[number] = score(cases[number], probabilities)
    # Every case is scored by one process, so the sum does not depend on their number.
    return sum(processes.sum(scores)) / len(cases)
