from itertools import product

import numpy as np
import pytest
from scipy import stats

from crossmodalnet.metrics.statistics import PairedComparison, compare_paired, holm, smallest_p, verdict

ALPHA = 0.05


def compare(a: np.ndarray, b: np.ndarray | float = 0.0, num_samples: int = 2) -> PairedComparison:
    return compare_paired(a, np.broadcast_to(b, a.shape), num_samples=num_samples, seed=0)


def simulate(rng: np.random.Generator, num_subjects: int, effect: float) -> PairedComparison:
    """Dice-like scores that share the subject's difficulty and differ by noise of 0.02 and `effect`."""
    subject = rng.beta(20, 3, num_subjects)
    a, b = subject + rng.normal(0, 0.02, (2, num_subjects))
    return compare(a + effect, b)


@pytest.fixture(scope="module")
def null_p_values() -> np.ndarray:
    """300 families of 7 comparisons of 16 subjects each, without any effect."""
    rng = np.random.default_rng(16)
    return np.reshape([simulate(rng, 16, effect=0).p_value for _ in range(2100)], (300, 7))


@pytest.mark.parametrize("num_subjects", [6, 14, 50])
def test_exact_p_value_is_that_of_scipy(num_subjects: int) -> None:
    a, b = np.random.default_rng(num_subjects).normal(0.8, 0.1, (2, num_subjects))
    assert compare(a, b).p_value == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue, rel=1e-12)


def test_approximation_beyond_fifty_is_that_of_scipy() -> None:
    a, b = np.random.default_rng(1).normal(0.8, 0.1, (2, 60))
    expected = stats.wilcoxon(a, b, method="asymptotic").pvalue
    assert compare(a, b).p_value == pytest.approx(expected, rel=1e-12)


def test_ties_are_counted_sign_pattern_by_sign_pattern() -> None:
    differences = np.array([1.0, 1, 2, 2, 2, -1, 5, 3])
    ranks = stats.rankdata(np.abs(differences))
    sums = np.array([np.dot(signs, ranks) for signs in product((-1, 1), repeat=8)])
    observed = np.dot(np.sign(differences), ranks)
    assert compare(differences).p_value == pytest.approx((np.abs(sums) >= abs(observed)).mean(), rel=1e-12)


def test_ties_are_seen_through_rounding() -> None:
    a, b = np.array([0.3, 0.2, 0.9, 0.5]), np.array([0.2, 0.1, 0.8, 0.7])  # +0.1 three times, but for a bit
    assert len(np.unique((a - b)[:3])) > 1
    assert compare(a, b).effect_size == pytest.approx((6 - 4) / 10)
    assert compare(a * 3 / 3, a).p_value == 1


def test_effect_size_by_hand() -> None:
    # Ranks 1, 2, 3, 4 of |d|; positive 1 + 3 + 4, negative 2; the zero is dropped.
    found = compare(np.array([0.1, -0.2, 0.3, 0.4, 0.0]))
    assert found.effect_size == pytest.approx((8 - 2) / 10)
    assert found.difference == pytest.approx(0.6 / 5)
    assert found.num_pairs == 5
    # 2 * P(W- <= 2) = 2 * 3 / 16: of 16 sign patterns, the sums 0, 1, 2 come up once each.
    assert found.p_value == pytest.approx(6 / 16)


def test_swapping_the_methods_turns_the_signs() -> None:
    a, b = np.random.default_rng(2).normal(size=(2, 12))
    one, other = compare(a, b, 3000), compare(b, a, 3000)
    assert (one.difference, one.effect_size) == pytest.approx((-other.difference, -other.effect_size))
    assert (one.low, one.high, one.p_value) == pytest.approx((-other.high, -other.low, other.p_value))
    assert one.low < one.difference < one.high


def test_equal_methods() -> None:
    found = compare(np.array([0.7, 0.8]), np.array([0.7, 0.8]))
    assert (found.difference, found.low, found.high, found.p_value, found.effect_size) == (0, 0, 0, 1, 0)


def test_pairs_with_an_undefined_score_are_left_out() -> None:
    a = np.array([0.5, np.nan, 0.7, 0.9, 0.4])
    b = np.array([0.4, 0.3, np.nan, 0.6, 0.6])
    assert compare(a, b, 99) == compare(a[[0, 3, 4]], b[[0, 3, 4]], 99)
    assert compare(a, b).num_pairs == 3


def test_scores_must_pair() -> None:
    with pytest.raises(ValueError, match=r"one shape .* \(3,\) and \(2,\)"):
        compare_paired(np.ones(3), np.ones(2), num_samples=2, seed=0)
    with pytest.raises(ValueError, match="none in 2"):
        compare(np.array([np.nan, 1.0]), np.array([1.0, np.nan]))


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04, times 4, 3, 2, 1: .04 .06 .06 .04; each at least as large as the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.001, 0.4]) == pytest.approx([0.8, 0.003, 0.8])
    assert holm([0.9, 0.9]) == [1, 1]
    assert holm([]) == []


def test_holm_rejects_what_the_stepwise_procedure_rejects() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        p = rng.random(6) ** 4
        rejected, remaining = set(), sorted(range(6), key=lambda i: p[i])
        while remaining and p[remaining[0]] * len(remaining) <= ALPHA:
            rejected.add(remaining.pop(0))
        assert {i for i, adjusted in enumerate(holm(list(p))) if adjusted <= ALPHA} == rejected


@pytest.mark.parametrize("wrong", [-0.1, 1.2, float("nan")])
def test_p_values_are_checked(wrong: float) -> None:
    with pytest.raises(ValueError, match="p_values must lie in 0 to 1"):
        holm([0.5, wrong])


@pytest.mark.parametrize("num_pairs", [1, 2, 5, 8, 20])
def test_smallest_p_is_that_of_differences_of_one_sign(num_pairs: int) -> None:
    assert compare(np.arange(1.0, num_pairs + 1)).p_value == pytest.approx(smallest_p(num_pairs), rel=1e-12)


def test_no_pair_has_no_p() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        smallest_p(0)


def test_verdicts() -> None:
    assert verdict(0.04, 16, 7) == "supported"
    assert verdict(0.06, 16, 7) == "not_supported"
    assert verdict(0.0625, 5, 1) == "underpowered"  # as low as five subjects can go
    # Eight subjects: 1/128 at best, which is enough for six tests and not for seven.
    assert (verdict(0.3, 8, 6), verdict(0.3, 8, 7)) == ("not_supported", "underpowered")
    assert verdict(0.03, 8, 7) == "supported"  # after others of the family, with more subjects


@pytest.mark.parametrize(("num_subjects", "expected"), [(5, 0), (8, 10 / 256)])
def test_false_positive_rate_over_all_outcomes(num_subjects: int, expected: float) -> None:
    """Without an effect all sign patterns are equally likely: of 2^8, those with rank sum <= 3 are 5, twice."""
    sizes = np.arange(1.0, num_subjects + 1)
    p = [compare(sizes * signs).p_value for signs in product((-1.0, 1.0), repeat=num_subjects)]
    assert np.mean(np.array(p) <= ALPHA) == expected


def test_false_positive_rate_in_simulation(null_p_values: np.ndarray) -> None:
    rng = np.random.default_rng(30)
    of_thirty = np.array([simulate(rng, 30, effect=0).p_value for _ in range(1000)])
    for p in (null_p_values, of_thirty):
        three_errors = 3 * np.sqrt(ALPHA * (1 - ALPHA) / p.size)
        assert np.mean(p <= ALPHA) == pytest.approx(ALPHA, abs=three_errors)


def test_power_rises_with_the_effect_and_with_the_subjects() -> None:
    rng = np.random.default_rng(6)

    def power(num_subjects: int, effect: float) -> float:
        return float(np.mean([simulate(rng, num_subjects, effect).p_value <= ALPHA for _ in range(150)]))

    assert power(16, 0.01) + 0.2 < power(16, 0.02) < power(16, 0.05) == 1
    assert power(8, 0.02) + 0.2 < power(16, 0.02)
    assert power(5, 0.05) == 0


def test_family_wise_error_of_seven_tests(null_p_values: np.ndarray) -> None:
    corrected = np.mean([min(holm(p)) <= ALPHA for p in null_p_values.tolist()])
    assert corrected <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / len(null_p_values))
    uncorrected = np.mean(null_p_values.min(axis=1) <= ALPHA)
    assert uncorrected == pytest.approx(1 - 0.95**7, abs=0.08)  # three standard errors
