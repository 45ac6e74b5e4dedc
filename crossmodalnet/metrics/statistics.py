"""Compute bootstrap intervals, paired tests and ranks of methods over few subjects."""

import gc
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

Verdict = Literal["supported", "not_supported", "underpowered"]
# Up to this many tied differences, all 2^n sign patterns are counted.
MAX_TIED = 13


class Interval(NamedTuple):
    """A mean over subjects and its confidence interval."""

    mean: float
    low: float
    high: float
    num_subjects: int


class PairedComparison(NamedTuple):
    """Comparison of methods a and b on the same subjects.

    `difference` is the mean of a - b with its bootstrap interval, `p_value` is uncorrected, and `effect_size` is the
    rank-biserial correlation, -1 (a is always lower) to 1.
    """

    difference: float
    low: float
    high: float
    p_value: float
    effect_size: float
    num_pairs: int


def bootstrap_means(values: NDArray[np.float64], *, num_samples: int, seed: int) -> NDArray[np.float64]:
    """Resample the means of several methods over subjects and seeds (pigeonhole bootstrap, Owen 2007).

    All methods and subjects share the draw of seeds: a lucky seed is lucky for all of them. `seed` gives the same
    subjects for any number of methods and seeds.

    Args:
        values: `(num_methods, num_subjects, num_seeds)`; NaN values are left out.

    Returns:
        `(num_samples, num_methods)`; NaN where a sample holds no defined value.
    """
    _, num_subjects, num_seeds = values.shape
    random = np.random.default_rng(seed)
    subjects = random.integers(0, num_subjects, (num_samples, num_subjects))
    seeds = random.integers(0, num_seeds, (num_samples, num_seeds))
    times = (seeds[:, :, None] == np.arange(num_seeds)).sum(axis=1).astype(np.float64)
    # (num_methods, num_samples, num_subjects)
    by_subject = _ratio(times @ np.nan_to_num(values).mT, times @ (~np.isnan(values)).astype(np.float64).mT)
    drawn = np.take_along_axis(by_subject, subjects[None], axis=2)
    return _ratio(np.nan_to_num(drawn).sum(axis=2), (~np.isnan(drawn)).sum(axis=2)).T


def quantile_interval(samples: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Compute the percentile interval of bootstrap samples, NaN left out."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(samples, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_interval(values: NDArray[np.float64], *, num_samples: int, seed: int, level: float = 0.95) -> Interval:
    """Compute the mean over subjects and seeds with its percentile bootstrap interval (Efron 1979; Owen 2007).

    The interval is too narrow with few subjects. In simulations, nominal 95 % intervals over 5, 8, 16 and 30 subjects
    held the true mean of normal values in 84, 88, 92 and 94 %, and of values near an upper limit, such as good Dice
    scores, in 79, 86, 91 and 92 %.

    Args:
        values: `(num_subjects,)` or `(num_subjects, num_seeds)`; NaN values are left out.

    Raises:
        ValueError: no defined value.
    """
    table = values.reshape(len(values), -1)
    defined = table[~np.isnan(table).all(axis=1)]
    if not len(defined):
        raise ValueError(f"values must hold a defined value, got {values.size} undefined ones")
    samples = bootstrap_means(defined[None], num_samples=num_samples, seed=seed)
    mean = np.nanmean(defined, axis=1).mean()
    return Interval(float(mean), *quantile_interval(samples, level), len(defined))


def compare_paired(a: NDArray[np.float64], b: NDArray[np.float64], *, num_samples: int, seed: int) -> PairedComparison:
    """Compare two methods with SciPy's Wilcoxon signed-rank test (Wilcoxon 1945).

    The test is exact up to 50 subjects, or up to 13 with ties; beyond, it is the normal approximation. Test and effect
    size drop subjects without a difference; the mean difference and `num_pairs` count them. If nothing differs, p is 1
    and the effect 0. The effect size is (W+ - W-) / (W+ + W-), with the rank sums W of the positive and negative
    differences (Kerby 2014).

    Args:
        a: scores of one method, `(num_subjects,)`, averaged over seeds; pairs with NaN are left out.
        b: scores of the other method on the same subjects.

    Raises:
        ValueError: the shapes differ or are not one-dimensional, or no pair is defined.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"a and b must have one shape (num_subjects,), got {a.shape} and {b.shape}")
    differences = a - b
    paired = ~np.isnan(differences)
    if not paired.any():
        raise ValueError(f"a and b must have a defined pair, got none in {len(a)}")
    interval = bootstrap_interval(differences, num_samples=num_samples, seed=seed)
    # Zeros and ties decide ranks and must not depend on rounding.
    differences = merge_rounding(differences[paired], np.abs([a[paired], b[paired]]).max())
    p_value, effect_size = _signed_rank(differences[differences != 0])
    return PairedComparison(*interval[:3], p_value, effect_size, interval.num_subjects)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of a family of tests, in the same order (Holm 1979)."""
    if len(p_values) < 2:
        return list(p_values)
    gc.freeze()  # statsmodels collects garbage at every call: 0.2 s where many modules are loaded
    try:
        adjusted = multipletests(p_values, method="holm")[1]
    finally:
        gc.unfreeze()
    return [float(p_value) for p_value in adjusted]


def smallest_p(num_pairs: int) -> float:
    """Compute the smallest two-sided p-value of the signed-rank test: all differences have one sign."""
    return float(2.0 ** (1 - num_pairs))


def verdict(p_holm: float, num_pairs: int, num_tests: int, alpha: float = 0.05) -> Verdict:
    """Judge a test of a family; `underpowered` where no outcome could have been significant.

    `not_supported` is no evidence of equality.
    """
    # With unequal numbers of pairs, a test too small to be first in Holm's order may still be significant.
    if p_holm <= alpha:
        return "supported"
    return "underpowered" if smallest_p(num_pairs) * num_tests > alpha else "not_supported"


def rank_stability(values: NDArray[np.float64], *, higher_is_better: bool, num_samples: int, seed: int) -> pd.DataFrame:
    """Rank the means over subjects and bootstrap the ranks (challengeR, Wiesenfarth et al. 2021).

    Ties share their average rank, unlike in challengeR.

    Args:
        values: `(num_methods, num_subjects)`; a subject that is NaN for any method is left out for all.

    Returns:
        A row per method: `rank` (1 is best), its 95 % interval `low` to `high`, and `share_first`, the share of the
        samples in which it is first (a shared first place is divided).

    Raises:
        ValueError: no subject has a value for every method.
    """
    complete = values[:, ~np.isnan(values).any(axis=0)]
    if not complete.size:
        raise ValueError(f"values must have a subject that is defined for all methods, got {values.shape}")
    oriented = -complete if higher_is_better else complete
    scale = float(np.abs(complete).max())
    sampled = _ranks(bootstrap_means(oriented[..., None], num_samples=num_samples, seed=seed).T, scale)
    # A shared first place has a rank above 1.
    first = sampled == sampled.min(axis=0)
    low, high = np.quantile(sampled, [0.025, 0.975], axis=1)
    return pd.DataFrame({
        "rank": _ranks(oriented.mean(axis=1), scale), "low": low, "high": high,
        "share_first": (first / first.sum(axis=0)).mean(axis=1),
    })  # fmt: skip


def merge_rounding(values: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Merge values that differ by rounding alone (1e-12 of `scale`), so that ties count as ties."""
    unit = 1e-12 * scale
    return np.round(values / unit) * unit if unit > 0 else values


def _ratio(total: NDArray[np.float64], count: NDArray[Any]) -> NDArray[np.float64]:
    ratio = np.full(total.shape, np.nan)
    np.divide(total, count, out=ratio, where=count > 0)
    return ratio


def _ranks(means: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Rank methods along the first axis, ascending."""
    return np.asarray(stats.rankdata(merge_rounding(means, scale), axis=0), np.float64)


def _signed_rank(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Compute the p-value and rank-biserial correlation of non-zero differences, `(num_differences,)`."""
    if not len(differences):
        return 1.0, 0.0
    ranks = stats.rankdata(np.abs(differences))
    effect_size = float(np.sum(ranks * np.sign(differences)) / ranks.sum())
    if len(np.unique(ranks)) < len(ranks) <= MAX_TIED:
        # SciPy's exact p-values do not support ties: count all sign patterns while they are few.
        result = stats.wilcoxon(differences, method=stats.PermutationMethod(n_resamples=2**MAX_TIED))
    else:
        result = stats.wilcoxon(differences)
    return float(result.pvalue), effect_size
