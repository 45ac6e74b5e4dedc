"""How firm a ranking of methods is when the subjects might have been others."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from crossmodalnet.metrics.paired import merge_rounding


@dataclass(frozen=True)
class RankStability:
    """Rank of one method and what becomes of it under resampling.

    Attributes:
        rank: rank of the mean over all subjects, 1 is best; methods that tie share their average rank.
        low: lower (better) end of the bootstrap interval of the rank.
        high: upper end.
        share_first: share of the bootstrap samples in which the method is first; a shared first place is
            divided. Over all methods it sums to 1.
    """

    rank: float
    low: float
    high: float
    share_first: float


def rank_stability(
    values: NDArray[np.float64],
    *,
    higher_is_better: bool,
    num_samples: int,
    seed: int,
    level: float = 0.95,
) -> list[RankStability]:
    """Rank the means over subjects and resample subjects, the same for all methods (Wiesenfarth et al. 2021).

    It is the ranking "aggregate, then rank" of challengeR, in which ties take the smallest rank instead.

    Args:
        values: `(num_methods, num_subjects)`; a subject that is NaN for any method is left out for all.
        higher_is_better: rank 1 has the highest mean.
        num_samples: bootstrap samples.
        seed: seed of the resampling.
        level: share of the bootstrap ranks inside the interval.

    Returns:
        One per method, in their order.

    Raises:
        ValueError: `values` has another number of axes, or no subject has a value for every method.
    """
    if values.ndim != 2:
        raise ValueError(f"values must be (num_methods, num_subjects), got shape {values.shape}")
    complete = values[:, ~np.isnan(values).any(axis=0)]
    if not complete.size:
        raise ValueError(f"values must have a subject that is defined for all methods, got {values.shape}")
    oriented = -complete if higher_is_better else complete
    num_subjects = complete.shape[1]
    draws = np.random.default_rng(seed).integers(0, num_subjects, (num_samples, num_subjects))
    ranks = _ranks(oriented)  # (num_methods,)
    sampled = _ranks(oriented[:, draws])  # (num_methods, num_samples)
    tail = (1 - level) / 2
    low, high = np.quantile(sampled, [tail, 1 - tail], axis=1)
    # The first place is the smallest rank, which is above 1 when it is shared.
    first = sampled == sampled.min(axis=0)
    share_first = (first / first.sum(axis=0)).mean(axis=1)
    return [RankStability(*map(float, row)) for row in zip(ranks, low, high, share_first, strict=True)]


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank means over the last axis along the first: `(num_methods, ..., num_subjects)` without the last."""
    means = merge_rounding(values.mean(axis=-1), np.abs(values).max())
    return np.asarray(stats.rankdata(means, axis=0), np.float64)
