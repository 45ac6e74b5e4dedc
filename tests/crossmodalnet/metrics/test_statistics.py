from itertools import product

import numpy as np
import pytest
from scipy import stats

from crossmodalnet.metrics import statistics
from crossmodalnet.metrics.statistics import bootstrap_interval, compare_paired, holm, smallest_p, verdict


def compare(a: np.ndarray, b: np.ndarray | float = 0.0, num_samples: int = 2) -> statistics.PairedComparison:
    return compare_paired(a, np.broadcast_to(b, a.shape), num_samples=num_samples, seed=0)


def ranks(values, higher_is_better=True, num_samples=500):
    options = {"higher_is_better": higher_is_better, "num_samples": num_samples, "seed": 0}
    return statistics.rank_stability(np.asarray(values, float), **options)


def interval_of(values, num_samples=500, seed=0, **options):
    return bootstrap_interval(np.array(values), num_samples=num_samples, seed=seed, **options)


def test_bootstrap_agrees_with_scipy() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.1, 20)
    interval = interval_of(values, 20000, seed=1)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=2)
    assert interval.mean == pytest.approx(values.mean())
    assert (interval.low, interval.high) == pytest.approx(tuple(expected.confidence_interval), abs=0.002)


def test_undefined_values_are_left_out() -> None:
    with_gap = interval_of([0.1, np.nan, 0.5, 0.9])
    assert with_gap == interval_of([0.1, 0.5, 0.9])
    assert with_gap.num_subjects == 3
    values = np.random.default_rng(7).random((6, 3))
    assert interval_of(np.insert(values, 2, np.nan, axis=0)) == interval_of(values)
    with pytest.raises(ValueError, match="2 undefined"):
        interval_of([np.nan, np.nan])


# A sample of the last may hold nothing defined.
@pytest.mark.parametrize("values", [[0.7], [0.7] * 6, [[0.7, np.nan, np.nan]]])
def test_equal_values_and_single_subjects_have_no_width(values) -> None:
    assert interval_of(values)[:3] == pytest.approx((0.7, 0.7, 0.7))


def test_the_seed_decides() -> None:
    runs = [interval_of(np.arange(5.0), seed=seed) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_seeds_are_drawn_for_all_subjects_together() -> None:
    # Subjects do not differ: what is left is the mean of two seeds drawn from 0 and 1, one for all subjects.
    values = np.tile([0.0, 1.0], (40, 1))
    assert interval_of(values, 2000) == (0.5, 0, 1, 40)
    assert interval_of(values, 2000, level=0.4)[1:3] == (0.5, 0.5)  # half of the samples hold both seeds


def test_methods_share_their_draws() -> None:
    first = np.random.default_rng(1).random((7, 2))
    means = statistics.bootstrap_means(np.stack([first, first + 0.25]), num_samples=50, seed=3)
    assert means.shape == (50, 2)
    assert means[:, 1] - means[:, 0] == pytest.approx(np.full(50, 0.25))
    assert len(np.unique(means[:, 0])) > 20


def test_subjects_and_seeds_against_a_loop() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(size=(9, 3)) + rng.normal(size=3)
    values[4, 1] = values[0, 2] = values[0, 0] = np.nan
    means = []
    for _ in range(4000):
        sample = values[np.ix_(rng.integers(0, 9, 9), rng.integers(0, 3, 3))]
        by_subject = [np.mean(row[~np.isnan(row)]) for row in sample if not np.isnan(row).all()]
        means.append(np.mean(by_subject))
    interval = interval_of(values, 4000)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.08)
    assert interval.mean == pytest.approx(np.mean([np.nanmean(row) for row in values]))


def test_rounding_is_merged_and_differences_are_not() -> None:
    noisy = np.array([0.3 - 0.2, 0.2 - 0.1, 0.1 + 1e-9, 0.0])
    merged = statistics.merge_rounding(noisy, scale=0.3)
    assert len(np.unique(merged)) == 3
    np.testing.assert_allclose(merged, noisy, atol=1e-12)
    assert statistics.merge_rounding(np.zeros(2), scale=0).tolist() == [0, 0]


@pytest.mark.parametrize(("num_subjects", "method"), [(6, "exact"), (50, "exact"), (60, "asymptotic")])
def test_p_value_is_that_of_scipy(num_subjects: int, method: str) -> None:
    a, b = np.random.default_rng(num_subjects).normal(0.8, 0.1, (2, num_subjects))
    assert compare(a, b).p_value == pytest.approx(stats.wilcoxon(a, b, method=method).pvalue, rel=1e-12)


def test_ties_are_counted_sign_pattern_by_sign_pattern() -> None:
    differences = np.array([1.0, 1, 2, 2, 2, -1, 5, 3])
    order = stats.rankdata(np.abs(differences))
    sums = np.array([np.dot(signs, order) for signs in product((-1, 1), repeat=8)])
    observed = np.dot(np.sign(differences), order)
    assert compare(differences).p_value == pytest.approx((np.abs(sums) >= abs(observed)).mean(), rel=1e-12)


def test_ties_are_seen_through_rounding() -> None:
    a, b = np.array([0.3, 0.2, 0.9, 0.5]), np.array([0.2, 0.1, 0.8, 0.7])  # +0.1 three times, but for a bit
    assert len(np.unique((a - b)[:3])) > 1
    assert compare(a, b).effect_size == pytest.approx((6 - 4) / 10)
    assert compare(a * 3 / 3, a).p_value == 1


def test_effect_size_by_hand() -> None:
    # Ranks 1, 2, 3, 4 of |d|; positive 1 + 3 + 4, negative 2; the zero is dropped.
    test = compare(np.array([0.1, -0.2, 0.3, 0.4, 0.0]))
    assert test.effect_size == pytest.approx((8 - 2) / 10)
    assert test.difference == pytest.approx(0.6 / 5)
    assert test.num_pairs == 5
    # 2 * P(W- <= 2) = 2 * 3 / 16: of 16 sign patterns, the sums 0, 1, 2 come up once each.
    assert test.p_value == pytest.approx(6 / 16)


def test_swapping_the_methods_turns_the_signs() -> None:
    a, b = np.random.default_rng(2).normal(size=(2, 12))
    one, other = compare(a, b, 3000), compare(b, a, 3000)
    assert (one.difference, one.effect_size) == pytest.approx((-other.difference, -other.effect_size))
    assert (one.low, one.high, one.p_value) == pytest.approx((-other.high, -other.low, other.p_value))
    assert one.low < one.difference < one.high


def test_equal_methods() -> None:
    assert compare(np.array([0.7, 0.8]), np.array([0.7, 0.8])) == (0, 0, 0, 1, 0, 2)


def test_pairs_with_an_undefined_score_are_left_out() -> None:
    a, b = np.array([[0.5, np.nan, 0.7, 0.9, 0.4], [0.4, 0.3, np.nan, 0.6, 0.6]])
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
    assert holm([0.9, 0.9]) == [1, 1]
    assert holm([]) == []


@pytest.mark.parametrize("num_pairs", [1, 5, 20])
def test_smallest_p_is_that_of_differences_of_one_sign(num_pairs: int) -> None:
    assert compare(np.arange(1.0, num_pairs + 1)).p_value == pytest.approx(smallest_p(num_pairs), rel=1e-12)


def test_verdicts() -> None:
    assert verdict(0.04, 16, 7) == "supported"
    assert verdict(0.06, 16, 7) == "not_supported"
    assert verdict(0.0625, 5, 1) == "underpowered"  # as low as five subjects can go
    # Eight subjects: 1/128 at best, which is enough for six tests and not for seven.
    assert (verdict(0.3, 8, 6), verdict(0.3, 8, 7)) == ("not_supported", "underpowered")
    assert verdict(0.03, 8, 7) == "supported"  # after others of the family, with more subjects


def test_identical_methods_share_the_first_place() -> None:
    row = np.random.default_rng(1).random(9)
    table = ranks(np.stack([row, row - 1, row, row[::-1]]))
    # The reversed row has the same mean, summed in another order, but other subjects are in a sample.
    assert table["rank"].tolist() == [2, 4, 2, 2]
    assert table.loc[0].equals(table.loc[2])
    assert table["share_first"].sum() == pytest.approx(1)
    same = ranks(np.stack([row, row, row]))
    assert (same[["rank", "low", "high"]] == 2).all(axis=None)
    assert same["share_first"].tolist() == pytest.approx([1 / 3] * 3)


def test_interval_of_ranks_against_all_samples_of_two_subjects() -> None:
    # A sample holds subject 0 twice (1/4), 1 twice (1/4) or both (1/2): method 0 ranks 1, 2 and ties.
    table = ranks(np.array([[1.0, 0.0], [0.0, 1.0]]), num_samples=4000)
    assert table.loc[0, ["rank", "low", "high"]].tolist() == [1.5, 1, 2]
    assert table["share_first"].tolist() == pytest.approx([0.5, 0.5], abs=0.03)


def test_subjects_undefined_for_any_method_are_left_out_of_ranks() -> None:
    values = np.random.default_rng(3).random((3, 6))
    with_gaps = values.copy()
    with_gaps[0, 1] = with_gaps[2, 4] = np.nan
    assert ranks(with_gaps).equals(ranks(values[:, [0, 2, 3, 5]]))
    with pytest.raises(ValueError, match="defined for all methods"):
        ranks(np.array([[np.nan, 1], [1, np.nan]]))
