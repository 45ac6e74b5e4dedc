"""Estimates over layers with 95 % intervals by leaving out one case at a time (Quenouille 1956, Tukey 1958)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Values = NDArray[np.float64]


@dataclass(frozen=True)
class JackknifeEstimate:
    """Estimates from all cases, and the same without each of them.

    Differences are taken case by case left out, so that their intervals are paired.

    Attributes:
        pooled: estimate from all cases together, `(m,)`.
        left_out: `(num_cases, m)`, row i without case i; no rows where there is one case alone.
    """

    pooled: Values
    left_out: Values

    @property
    def certain(self) -> bool:
        """Whether there are intervals: at least two cases."""
        return len(self.left_out) > 1

    @property
    def interval(self) -> tuple[Values, Values]:
        """Ends `(m,)` of the 95 % interval by Student's t; the estimate itself where there is none."""
        n = len(self.left_out)
        if n < 2:
            return self.pooled, self.pooled
        spread = ((self.left_out - self.left_out.mean(axis=0)) ** 2).sum(axis=0)
        half = student.ppf(0.975, n - 1) * np.sqrt((n - 1) / n * spread)
        return self.pooled - half, self.pooled + half

    @property
    def change(self) -> "JackknifeEstimate":
        """From each estimate to the next, `(m - 1,)`: of information, the flow of Eq. 33."""
        return JackknifeEstimate(np.diff(self.pooled), np.diff(self.left_out, axis=1))

    def minus(self, other: "JackknifeEstimate") -> "JackknifeEstimate":
        """Difference to estimates from the same cases."""
        return JackknifeEstimate(self.pooled - other.pooled, self.left_out - other.left_out)

    def above(self) -> NDArray[np.bool_]:
        """Where the whole interval lies above 0 `(m,)`; nowhere without intervals."""
        return (self.interval[0] > 0) & self.certain

    def below(self) -> NDArray[np.bool_]:
        """Where the whole interval lies below 0 `(m,)`; nowhere without intervals."""
        return (self.interval[1] < 0) & self.certain


def leave_one_out(estimate: Callable[[list[int]], Values], num_cases: int) -> JackknifeEstimate:
    """Estimate from all cases and without each.

    Args:
        estimate: gives `(m,)` for the cases of these indices.
        num_cases: number of cases, at least 1.
    """
    cases = list(range(num_cases))
    pooled = estimate(cases)
    if num_cases == 1:
        return JackknifeEstimate(pooled, np.empty((0, len(pooled))))
    left_out = [estimate([case for case in cases if case != without]) for without in cases]
    return JackknifeEstimate(pooled, np.stack(left_out))
