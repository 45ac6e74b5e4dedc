"""Whether the difference between two methods is more than chance, over few paired subjects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from crossmodalnet.metrics.paired import bootstrap_interval, merge_rounding

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
