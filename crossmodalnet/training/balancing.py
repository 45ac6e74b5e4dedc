"""Adaptive loss balancing over any number of objectives (Def. 4, Eq. 23)."""

import math
from collections.abc import Sequence
from typing import Literal

Balancing = Literal["paper", "harder", "uniform"]

_SIGNS: dict[Balancing, float] = {"paper": -1.0, "harder": 1.0, "uniform": 0.0}


def balancing_weights(losses: Sequence[float], alpha: float, mode: Balancing) -> list[float]:
    """Weigh objectives by their previous losses: `w_i = softmax_i(-alpha L_i)` (Eq. 23); the weights sum to 1.

    In mode `paper` (Eq. 23) the smaller loss weighs more; `harder` has the opposite sign, as the text below the
    equation says; `uniform` gives equal weights, as does `alpha` 0.
    """
    scores = [_SIGNS[mode] * alpha * loss for loss in losses]
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


class AdaptiveBalancer:
    """Weights of named objectives, from their losses at the previous step; equal at the first step.

    >>> balancer = AdaptiveBalancer(["dice", "ce"], mode="paper", alpha=0.5)
    >>> balancer.weights
    [0.5, 0.5]
    >>> balancer.update([0.8, 2.0])
    >>> [round(weight, 3) for weight in balancer.weights]
    [0.646, 0.354]
    """

    def __init__(self, names: Sequence[str], mode: Balancing, alpha: float) -> None:
        if mode not in _SIGNS:
            raise ValueError(f"balancing must be one of {', '.join(_SIGNS)}, got {mode!r}")
        self.names = tuple(names)
        self.mode = mode
        self.alpha = alpha
        self._previous: list[float] | None = None

    @property
    def weights(self) -> list[float]:
        """Weights of the next step, in the order of `names`; they sum to 1."""
        if self._previous is None:
            return [1 / len(self.names)] * len(self.names)
        return balancing_weights(self._previous, self.alpha, self.mode)

    def update(self, losses: Sequence[float]) -> None:
        """Store the raw losses of a step, averaged over all processes."""
        if len(losses) != len(self.names) or not all(math.isfinite(loss) for loss in losses):
            raise ValueError(f"losses must be {len(self.names)} finite numbers ({', '.join(self.names)}), got {losses}")
        self._previous = list(losses)

    def state(self) -> list[float] | None:
        """Return the losses of the last step; None before the first."""
        return self._previous

    def restore(self, state: list[float] | None) -> None:
        """Restore a state."""
        self._previous = state
