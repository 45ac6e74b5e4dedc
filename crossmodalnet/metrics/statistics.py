"""Bootstrap intervals, paired tests and ranks over few subjects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: over the subjects.
        low: lower end.
        high: upper end.
        num_subjects: number of subjects that had a value.
    """

    mean: float
    low: float
    high: float
    num_subjects: int


def bootstrap_interval(
    values: NDArray[np.float64], *, num_samples: int, seed: int, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of the mean, resampling subjects with replacement (Efron 1979).

    With few subjects it is narrower than it says. Nominal 95 % intervals held the true mean, in 4000 simulated
    experiments each with 5, 8, 16 and 30 subjects, in 84, 88, 92 and 94 % for normal values, and in 79, 86, 91
    and 92 % for values crowded at an upper limit as good Dice scores are (beta distribution, 9 and 1).

    Args:
        values: values, one per subject, `(num_subjects,)`; NaN marks an undefined value, which is left out.
        num_samples: bootstrap samples.
        seed: seed of the resampling; one seed resamples the same subjects for every metric.
        level: share of the bootstrap means inside the interval.

    Raises:
        ValueError: no defined value.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        raise ValueError(f"values must hold a defined value, got {len(values)} undefined ones")
    draws = np.random.default_rng(seed).integers(0, len(defined), (num_samples, len(defined)))
    tail = (1 - level) / 2
    low, high = np.quantile(defined[draws].mean(axis=1), [tail, 1 - tail])
    return Interval(float(defined.mean()), float(low), float(high), len(defined))


def bootstrap_interval_seeds(
    values: NDArray[np.float64], *, num_samples: int, seed: int, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of the mean over subjects and seeds (pigeonhole bootstrap, Owen 2007).

    Each sample draws subjects with replacement, and seeds with replacement, the same seeds for all its subjects:
    a lucky seed is lucky for all of them. The mean is that over subjects of their means over seeds. With one
    seed, this is `bootstrap_interval` exactly. It is too narrow with few subjects or few seeds: with 3 seeds that
    vary 0.3 times as much as subjects do, nominal 95 % intervals held the true mean in 85, 88, 91 and 90 % of
    1500 simulated experiments each with 5, 8, 16 and 30 subjects; resampling subjects alone, in 80 to 84 %.

    Args:
        values: `(num_subjects, num_seeds)`; NaN marks an undefined value, which is left out.
        num_samples: bootstrap samples.
        seed: seed of the resampling; the same subjects are drawn as in `bootstrap_interval`.
        level: share of the bootstrap means inside the interval.

    Raises:
        ValueError: `values` has another number of axes, or no defined value.
    """
    if values.ndim != 2:
        raise ValueError(f"values must be (num_subjects, num_seeds), got shape {values.shape}")
    defined = values[~np.isnan(values).all(axis=1)]
    if not len(defined):
        raise ValueError(f"values must hold a defined value, got {values.size} undefined ones")
    num_subjects, num_seeds = defined.shape
    rng = np.random.default_rng(seed)
    subjects = rng.integers(0, num_subjects, (num_samples, num_subjects))
    seeds = rng.integers(0, num_seeds, (num_samples, num_seeds))
    times = (seeds[:, :, None] == np.arange(num_seeds)).sum(axis=1)  # (num_samples, num_seeds)
    by_subject = _means_over_seeds(defined, times)  # (num_samples, num_subjects)
    # A subject without a value for any of the drawn seeds is left out of that sample; so is an empty sample.
    means = _mean_of_defined(np.take_along_axis(by_subject, subjects, axis=1))
    tail = (1 - level) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    mean = _means_over_seeds(defined, np.ones((1, num_seeds), np.int64)).mean()
    return Interval(float(mean), float(low), float(high), num_subjects)


def merge_rounding(values: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Make values equal that differ by floating-point rounding alone, so that ties are seen as ties.

    Args:
        values: any shape.
        scale: magnitude of the numbers that the values were computed from; a 1e-12th of it is rounding.
    """
    unit = 1e-12 * scale
    return np.round(values / unit) * unit if unit > 0 else values


def _means_over_seeds(values: NDArray[np.float64], times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of each subject `(num_subjects, num_seeds)` over seeds that occur so many `times` in a sample.

    Args:
        values: a subject's seeds, NaN where undefined.
        times: `(num_samples, num_seeds)`.

    Returns:
        `(num_samples, num_subjects)`, NaN where no drawn seed has a value.
    """
    count = times @ (~np.isnan(values)).T.astype(np.int64)
    return _ratio(times @ np.nan_to_num(values).T, count)


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean along the last axis without NaN; NaN where there is nothing else."""
    count = (~np.isnan(values)).sum(axis=-1)
    return _ratio(np.nan_to_num(values).sum(axis=-1), count)


def _ratio(total: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    result = np.full(total.shape, np.nan)
    np.divide(total, count, out=result, where=count > 0)
    return result


Verdict = Literal["supported", "not_supported", "underpowered"]
# Most differences whose 2^n sign patterns are counted one by one.
MAX_TIED = 13


@dataclass(frozen=True)
class PairedComparison:
    """Method a against method b on the same subjects.

    Attributes:
        difference: mean of a - b, in the unit of the scores.
        low: lower end of the bootstrap interval of the difference.
        high: upper end.
        p_value: p-value of the two-sided Wilcoxon signed-rank test, before any correction.
        effect_size: matched-pairs rank-biserial correlation, -1 (a is lower throughout) to 1 (a is higher).
        num_pairs: subjects for which both have a value.
    """

    difference: float
    low: float
    high: float
    p_value: float
    effect_size: float
    num_pairs: int


def compare_paired(
    a: NDArray[np.float64], b: NDArray[np.float64], *, num_samples: int, seed: int, level: float = 0.95
) -> PairedComparison:
    """Compare two methods with Wilcoxon's signed-rank test (Wilcoxon 1945), as SciPy computes it.

    The test is exact up to 50 subjects, or up to 13 where absolute differences tie; beyond, it is the normal
    approximation. Subjects without any difference tell for neither side and are dropped from the test and the
    effect size, as Wilcoxon does; they count in the mean difference and in `num_pairs`. If nothing differs, p
    is 1 and the effect 0.

    The effect size is (W+ - W-) / (W+ + W-), with the rank sums W of the positive and negative differences
    (Kerby 2014). The interval is narrower than it says with few subjects, see `bootstrap_interval`: the test
    decides, not the interval.

    Args:
        a: scores of one method, `(num_subjects,)`; average over seeds first. NaN marks an undefined score: the
            pair is left out.
        b: scores of the other on the same subjects, `(num_subjects,)`.
        num_samples: bootstrap samples.
        seed: seed of the bootstrap.
        level: level of the interval.

    Raises:
        ValueError: the shapes differ or are not one-dimensional, or no pair is defined.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"a and b must have one shape (num_subjects,), got {a.shape} and {b.shape}")
    differences = a - b
    paired = ~np.isnan(differences)
    if not paired.any():
        raise ValueError(f"a and b must have a defined pair, got none in {len(a)}")
    interval = bootstrap_interval(differences, num_samples=num_samples, seed=seed, level=level)
    # What is zero or tied decides ranks, and must not hang on the last bit.
    differences = merge_rounding(differences[paired], np.abs([a[paired], b[paired]]).max())
    p_value, effect_size = _signed_rank(differences[differences != 0])
    return PairedComparison(
        interval.mean, interval.low, interval.high, p_value, effect_size, interval.num_subjects
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of a family of tests so that any false finding is as rare as alpha (Holm 1979).

    Args:
        p_values: p-values of every test that was made in the family, in any order.

    Returns:
        Adjusted p-values in the same order, at most 1: a test is significant when its own is at most alpha.

    Raises:
        ValueError: a p-value is outside 0 to 1, or NaN.
    """
    for p_value in p_values:
        if not 0 <= p_value <= 1:
            raise ValueError(f"p_values must lie in 0 to 1, got {p_value}")
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for step, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def smallest_p(num_pairs: int) -> float:
    """The smallest two-sided p-value that the signed-rank test can give: all differences have one sign.

    Raises:
        ValueError: there is no pair.
    """
    if num_pairs < 1:
        raise ValueError(f"num_pairs must be at least 1, got {num_pairs}")
    return float(2.0 ** (1 - num_pairs))


def verdict(p_holm: float, num_pairs: int, num_tests: int, alpha: float = 0.05) -> Verdict:
    """Say what a test supports; `underpowered` where no outcome whatever could have been significant.

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
