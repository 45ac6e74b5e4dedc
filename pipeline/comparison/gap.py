"""How much of the gap between no adaptation and training on the target's labels an adaptation closes."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.domains import LOWER, UPPER, DomainScores
from pipeline.comparison.resampling import TAIL, interval, paired_values, resampled_means
from pipeline.comparison.scores import MEANS
from pipeline.config.sections import CompareConfig

GAP_COLUMNS = (
    "method", "structure", "source_only", "dice", "supervised", "share", "low", "high", "num_samples",
    "num_without_gap", "num_subjects", "num_seeds", "source_loss", "source_loss_low", "source_loss_high",
)  # fmt: skip
SEED_COLUMNS = ("method", "structure", "seed", "source_only", "dice", "supervised", "share")


@dataclass(frozen=True)
class GapShare:
    """Share of a gap; NaN where it is not defined.

    Attributes:
        share: (method - lower) / (upper - lower); below 0 and above 1 are possible. NaN without a positive gap.
        low: lower end of its 95 % interval, or NaN: see `share_of_gap`.
        high: upper end.
        num_without_gap: resamplings in which the gap was not positive.
    """

    share: float
    low: float
    high: float
    num_without_gap: int


def share_of_gap(values: NDArray[np.float64], params: CompareConfig) -> GapShare:
    """Give the share of the gap between two bounds that a method closes, with its interval.

    Lower bound, method and upper bound are resampled together, so that the interval is that of a paired share.
    Where a resampling has no positive gap, the share could be anything: such a resampling counts as minus infinity
    for the lower end and as infinity for the upper end. A few of them widen the interval; with more than 2.5 % of
    them it has no ends (NaN).

    Args:
        values: `(3, num_subjects, num_seeds)`, finite: lower bound, method, upper bound.
        params: number of samples, seed.
    """
    lower, method, upper = values.mean(axis=(1, 2))
    means = resampled_means(values, params)
    gaps = means[:, 2] - means[:, 0]
    known = gaps > 0
    shares = (means[known, 1] - means[known, 0]) / gaps[known]
    missing = int((~known).sum())
    ends = (math.nan, math.nan)
    if upper > lower and missing <= int(TAIL * (len(means) - 1)):
        # So few lie beyond the quantile on either side that their value does not matter, as long as it is extreme.
        low, _ = interval(np.append(shares, np.full(missing, shares.min())))
        _, high = interval(np.append(shares, np.full(missing, shares.max())))
        ends = (low, high)
    share = float((method - lower) / (upper - lower)) if upper > lower else math.nan
    return GapShare(share, *ends, missing)


def gap_table(scores: DomainScores, params: CompareConfig) -> pd.DataFrame:
    """Give each method its share of the gap on the target, in Dice, and what it loses on the source.

    Returns:
        `GAP_COLUMNS`, a row per method that is no bound and per mean of structures; means are over subjects and
        seeds. `share` is empty where supervised training is not better, `low` and `high` where too many of the
        resamplings have no gap. `source_loss` is source-only minus method on the source's test cases, below 0
        where the method is better there. No row without both bounds, or where nothing is defined.
    """
    rows = []
    for method, structure in _contrasts(scores):
        names = (LOWER, method, UPPER)
        values = paired_values([scores.target[name] for name in names], structure)
        source = paired_values([scores.source[name] for name in names[:2]], structure)
        if not (values.size and source.size):
            continue
        found = share_of_gap(values, params)
        losses = resampled_means(source, params)
        loss = float(source[0].mean() - source[1].mean())
        rows.append((
            method, structure, *values.mean(axis=(1, 2)), found.share, found.low, found.high, params.bootstrap_samples,
            found.num_without_gap, *values.shape[1:], loss, *interval(losses[:, 0] - losses[:, 1]),
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(GAP_COLUMNS))


def gap_by_seed(scores: DomainScores) -> pd.DataFrame:
    """Give the shares of every seed on its own.

    Returns:
        `SEED_COLUMNS`; `share` is empty where supervised training is not better with that seed.
    """
    rows = []
    for method, structure in _contrasts(scores):
        tables = [scores.target[name] for name in (LOWER, method, UPPER)]
        values = paired_values(tables, structure)
        if not values.size:
            continue
        seeds = sorted(int(seed) for seed in tables[0]["seed"].unique())
        for seed, (lower, dice, upper) in zip(seeds, values.mean(axis=1).T, strict=True):
            share = (dice - lower) / (upper - lower) if upper > lower else math.nan
            rows.append((method, structure, seed, lower, dice, upper, share))
    return pd.DataFrame(rows, columns=list(SEED_COLUMNS))


def _contrasts(scores: DomainScores) -> list[tuple[str, str]]:
    """List methods and means of structures; none without both bounds."""
    if not scores.bounded:
        return []
    return [(name, structure) for name in scores.target if name not in (LOWER, UPPER) for structure in MEANS]
