"""Bootstrap intervals, paired tests and ranks of methods over few subjects."""

import gc
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

Verdict = Literal["supported", "not_supported", "underpowered"]
# Up to so many differences, the 2^n sign patterns of tied ranks are counted one by one.
MAX_TIED = 13


class Interval(NamedTuple):
    """A mean over subjects and the ends of its confidence interval."""

    mean: float
    low: float
    high: float
    num_subjects: int


class PairedComparison(NamedTuple):
    """Method a against method b on the same subjects.

    `difference` is the mean of a - b with the bootstrap interval `low` to `high`; `p_value` is uncorrected;
    `effect_size` is the rank-biserial correlation, -1 (a is lower throughout) to 1; `num_pairs` have both values.
    """

    difference: float
    low: float
    high: float
    p_value: float
    effect_size: float
    num_pairs: int


def bootstrap_means(values: NDArray[np.float64], *, num_samples: int, seed: int) -> NDArray[np.float64]:
    """Resample the means of several methods over subjects and seeds (pigeonhole bootstrap, Owen 2007).

    Each sample draws subjects with replacement and, apart from them, seeds with replacement. All methods and subjects
    share the draw: a lucky seed is lucky for all of them. The mean is over subjects of their means over seeds.

    Args:
        values: `(num_methods, num_subjects, num_seeds)`; NaN marks an undefined value, which is left out.
        num_samples: bootstrap samples.
        seed: seed of the resampling; the same subjects are drawn for any number of methods and seeds.

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
    """Give the ends of the percentile interval of bootstrap samples, NaN left out."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(samples, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_interval(
    values: NDArray[np.float64], *, num_samples: int, seed: int, level: float = 0.95
) -> Interval:
    """Give the mean over subjects and seeds with its percentile bootstrap interval (Efron 1979; Owen 2007).

    With few subjects it is too narrow. In 4000 simulated experiments each, nominal 95 % intervals over 5, 8, 16 and
    30 subjects held the true mean of normal values in 84, 88, 92 and 94 %, and that of values crowded at an upper
    limit, as good Dice scores are, in 79, 86, 91 and 92 %. With 3 seeds that vary 0.3 times as much as subjects do,
    it was 85, 88, 91 and 90 % in 1500 experiments.

    Args:
        values: `(num_subjects,)` or `(num_subjects, num_seeds)`; NaN marks an undefined value, which is left out.
        num_samples: bootstrap samples.
        seed: seed of the resampling; one seed resamples the same subjects for every metric.
        level: share of the bootstrap means inside the interval.

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


def compare_paired(
    a: NDArray[np.float64], b: NDArray[np.float64], *, num_samples: int, seed: int
) -> PairedComparison:
    """Compare two methods with Wilcoxon's signed-rank test (Wilcoxon 1945), as SciPy computes it.

    The test is exact up to 50 subjects, or up to 13 where absolute differences tie; beyond, it is the normal
    approximation. As Wilcoxon does, test and effect size drop subjects without a difference; the mean difference and
    `num_pairs` count them. If nothing differs, p is 1 and the effect 0.

    The effect size is (W+ - W-) / (W+ + W-), with the rank sums W of the positive and negative differences
    (Kerby 2014). With few subjects the interval is too narrow (`bootstrap_interval`): the test decides.

    Args:
        a: scores of one method, `(num_subjects,)`, averaged over seeds; a pair with a NaN is left out.
        b: scores of the other method on the same subjects, `(num_subjects,)`.
        num_samples: bootstrap samples.
        seed: seed of the bootstrap.

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
    # Zeros and ties decide ranks, and must not hang on the last bit.
    differences = merge_rounding(differences[paired], np.abs([a[paired], b[paired]]).max())
    p_value, effect_size = _signed_rank(differences[differences != 0])
    return PairedComparison(*interval[:3], p_value, effect_size, interval.num_subjects)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of a family of tests (Holm 1979): any false finding is as rare as alpha.

    Returns:
        Adjusted p-values in the same order, at most 1: a test is significant when its own is at most alpha.
    """
    if len(p_values) < 2:
        return list(p_values)
    gc.freeze()  # statsmodels collects garbage at every call: 0.2 s where many modules are loaded
    try:
        adjusted = multipletests(p_values, method="holm")[1]
    finally:
        gc.unfreeze()
    return [float(p_value) for p_value in adjusted]


def smallest_p(num_pairs: int) -> float:
    """Give the smallest two-sided p-value of the signed-rank test: all differences have one sign."""
    return float(2.0 ** (1 - num_pairs))


def verdict(p_holm: float, num_pairs: int, num_tests: int, alpha: float = 0.05) -> Verdict:
    """Judge a test; `underpowered` where no outcome whatever could have been significant.

    Not supported is no evidence of equality: only that these subjects do not show a difference.

    Args:
        p_holm: p-value after Holm's correction.
        num_pairs: subjects of the test.
        num_tests: tests in the family, which the smallest p-value is multiplied by.
        alpha: largest accepted probability of any false finding in the family.
    """
    # With unequal numbers of pairs, another test may open the way for one that could not stand first.
    if p_holm <= alpha:
        return "supported"
    return "underpowered" if smallest_p(num_pairs) * num_tests > alpha else "not_supported"


def rank_stability(
    values: NDArray[np.float64], *, higher_is_better: bool, num_samples: int, seed: int
) -> pd.DataFrame:
    """Rank the means over subjects and resample subjects, the same for all methods (Wiesenfarth et al. 2021).

    It is the ranking "aggregate, then rank" of challengeR, in which ties take the smallest rank instead.

    Args:
        values: `(num_methods, num_subjects)`; a subject that is NaN for any method is left out for all.
        higher_is_better: rank 1 has the highest mean.
        num_samples: bootstrap samples.
        seed: seed of the resampling.

    Returns:
        A row per method: `rank` (1 is best, ties share their average), the 95 % interval `low` to `high` of the rank,
        and `share_first`, the share of the samples in which it is first (a shared first place is divided).

    Raises:
        ValueError: no subject has a value for every method.
    """
    complete = values[:, ~np.isnan(values).any(axis=0)]
    if not complete.size:
        raise ValueError(f"values must have a subject that is defined for all methods, got {values.shape}")
    oriented = -complete if higher_is_better else complete
    scale = float(np.abs(complete).max())
    sampled = _ranks(bootstrap_means(oriented[..., None], num_samples=num_samples, seed=seed).T, scale)
    # The first place is the smallest rank, which is above 1 when it is shared.
    first = sampled == sampled.min(axis=0)
    low, high = np.quantile(sampled, [0.025, 0.975], axis=1)
    return pd.DataFrame({
        "rank": _ranks(oriented.mean(axis=1), scale), "low": low, "high": high,
        "share_first": (first / first.sum(axis=0)).mean(axis=1),
    })  # fmt: skip


def merge_rounding(values: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Make values equal that differ by floating-point rounding alone, so that ties are seen as ties.

    Args:
        values: any shape.
        scale: magnitude of the numbers that the values were computed from; a 1e-12th of it is rounding.
    """
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
    """P-value and rank-biserial correlation of differences that are not zero, `(num_differences,)`."""
    if not len(differences):
        return 1.0, 0.0
    ranks = stats.rankdata(np.abs(differences))
    effect_size = float(np.sum(ranks * np.sign(differences)) / ranks.sum())
    if len(np.unique(ranks)) < len(ranks) <= MAX_TIED:
        # SciPy's table of exact p-values knows no ties: count all sign patterns instead, while they are few.
        result = stats.wilcoxon(differences, method=stats.PermutationMethod(n_resamples=2**MAX_TIED))
    else:
        result = stats.wilcoxon(differences)
    return float(result.pvalue), effect_size
