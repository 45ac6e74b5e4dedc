"""The domain that a training adapts to, and its batches."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from crossmodalnet.imaging.samples import Batch, LabelledCase
from crossmodalnet.training.dataset import TrainingSet
from pipeline.training.extra_objective import TargetBatch


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


class TargetStream:
    """A process's share of the target's batches, made ahead from the first that is asked for; to be closed.

    Args:
        samples: samples that batches come from.
        rank: number of this process.
        world_size: number of processes.
        threads: samples made at once.
    """

    def __init__(self, samples: TrainingSet, *, rank: int, world_size: int, threads: int) -> None:
        self._samples = samples
        self._rank, self._world_size, self._threads = rank, world_size, threads
        self._batches: Generator[Batch, None, None] | None = None

    def batch(self, number: int) -> TargetBatch:
        """Give the batch of a number; each call asks for the number after the one before."""
        if self._batches is None:
            self._batches = self._samples.stream(
                number, rank=self._rank, world_size=self._world_size, threads=self._threads
            )
        return TargetBatch(next(self._batches).image, number)

    def close(self) -> None:
        """Make no more batches."""
        if self._batches is not None:
            self._batches.close()
