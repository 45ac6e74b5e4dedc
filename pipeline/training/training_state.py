"""How far a training is, as checkpoints keep it."""

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pipeline.training.curves import EpochSums, Row


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
