import numpy as np
import pytest
from scipy import stats

from crossmodalnet.metrics.statistics import bootstrap_interval, bootstrap_interval_seeds, merge_rounding


def test_agrees_with_scipy() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.1, 20)
    found = bootstrap_interval(values, num_samples=20000, seed=1)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=2)
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval), abs=0.002)


@pytest.mark.parametrize("num_subjects", [5, 8, 16, 30])
def test_covers_the_true_mean_less_often_than_it_says_with_few_subjects(num_subjects: int) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(5, 2, (500, num_subjects))
    intervals = [bootstrap_interval(row, num_samples=400, seed=i) for i, row in enumerate(values)]
    coverage = np.mean([interval.low <= 5 <= interval.high for interval in intervals])
    # The bootstrap's standard error is smaller by sqrt((n - 1) / n) than that of Student's interval, and its
    # quantiles are those of the normal distribution: nearly, for means of few subjects.
    factor = 1.96 * np.sqrt((num_subjects - 1) / num_subjects)
    expected = 1 - 2 * stats.t.sf(factor, num_subjects - 1)  # 0.85, 0.89, 0.92, 0.94
    assert coverage == pytest.approx(expected, abs=0.01 + 3 * np.sqrt(expected * (1 - expected) / 500))


def test_undefined_values_are_left_out() -> None:
    with_gap = bootstrap_interval(np.array([0.1, np.nan, 0.5, 0.9]), num_samples=500, seed=0)
    assert with_gap == bootstrap_interval(np.array([0.1, 0.5, 0.9]), num_samples=500, seed=0)
    assert with_gap.num_subjects == 3


def test_equal_values_and_single_subjects_have_no_width() -> None:
    for values in ([0.7], [0.7] * 6):
        found = bootstrap_interval(np.array(values), num_samples=200, seed=0)
        assert (found.low, found.mean, found.high) == pytest.approx((0.7, 0.7, 0.7))


def test_the_seed_decides() -> None:
    values = np.arange(5.0)
    runs = [bootstrap_interval(values, num_samples=150, seed=seed) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_nothing_defined() -> None:
    with pytest.raises(ValueError, match="2 undefined"):
        bootstrap_interval(np.array([np.nan, np.nan]), num_samples=100, seed=0)


def test_one_seed_is_the_interval_over_subjects() -> None:
    values = np.random.default_rng(5).normal(size=17)
    values[[2, 9]] = np.nan
    found = bootstrap_interval_seeds(values[:, None], num_samples=999, seed=4, level=0.9)
    assert found == bootstrap_interval(values, num_samples=999, seed=4, level=0.9)


def test_seeds_are_drawn_for_all_subjects_together() -> None:
    # Subjects do not differ: what is left is the mean of two seeds drawn from 0 and 1, one for all subjects.
    found = bootstrap_interval_seeds(np.tile([0.0, 1.0], (40, 1)), num_samples=2000, seed=0)
    assert (found.mean, found.low, found.high, found.num_subjects) == (0.5, 0, 1, 40)
    inner = bootstrap_interval_seeds(np.tile([0.0, 1.0], (40, 1)), num_samples=2000, seed=0, level=0.4)
    assert (inner.low, inner.high) == (0.5, 0.5)  # half of the samples hold both seeds


def test_subjects_and_seeds_against_a_loop() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(size=(9, 3)) + rng.normal(size=3)
    values[4, 1] = values[0, 2] = values[0, 0] = np.nan
    means = []
    for _ in range(4000):
        sample = values[np.ix_(rng.integers(0, 9, 9), rng.integers(0, 3, 3))]
        by_subject = [np.mean(row[~np.isnan(row)]) for row in sample if not np.isnan(row).all()]
        means.append(np.mean(by_subject))
    found = bootstrap_interval_seeds(values, num_samples=4000, seed=0)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.08)
    assert found.mean == pytest.approx(np.mean([np.nanmean(row) for row in values]))


def test_a_subject_without_any_value_is_left_out() -> None:
    values = np.random.default_rng(7).random((6, 3))
    gap = np.insert(values, 2, np.nan, axis=0)
    found = bootstrap_interval_seeds(gap, num_samples=300, seed=0)
    assert found == bootstrap_interval_seeds(values, num_samples=300, seed=0)
    assert found.num_subjects == 6


def test_a_sample_may_hold_nothing_defined() -> None:
    found = bootstrap_interval_seeds(np.array([[0.4, np.nan, np.nan]]), num_samples=300, seed=0)
    assert (found.mean, found.low, found.high) == pytest.approx((0.4, 0.4, 0.4))


def test_seeds_cover_the_true_mean_better_than_subjects_alone() -> None:
    rng = np.random.default_rng(8)
    hits = np.zeros(2)
    for i in range(300):
        values = rng.normal(size=(16, 1)) + 0.5 * rng.normal(size=(1, 4)) + 0.3 * rng.normal(size=(16, 4))
        both = bootstrap_interval_seeds(values, num_samples=200, seed=i)
        subjects = bootstrap_interval(values.mean(axis=1), num_samples=200, seed=i)
        hits += [both.low <= 0 <= both.high, subjects.low <= 0 <= subjects.high]
    # Of the variance 1/16 + 0.25/4 + 0.09/64 of the mean, subjects alone see 15/16 of about one half.
    assert hits[0] / 300 >= 0.85
    assert hits[1] / 300 == pytest.approx(0.81, abs=0.07)


def test_shapes_with_seeds_are_checked() -> None:
    with pytest.raises(ValueError, match=r"\(num_subjects, num_seeds\), got shape \(4,\)"):
        bootstrap_interval_seeds(np.ones(4), num_samples=10, seed=0)
    with pytest.raises(ValueError, match="6 undefined"):
        bootstrap_interval_seeds(np.full((3, 2), np.nan), num_samples=10, seed=0)


def test_rounding_is_merged_and_differences_are_not() -> None:
    noisy = np.array([0.3 - 0.2, 0.2 - 0.1, 0.1 + 1e-9, 0.0])
    assert len(np.unique(merge_rounding(noisy, scale=0.3))) == 3
    np.testing.assert_allclose(merge_rounding(noisy, scale=0.3), noisy, atol=1e-12)
    assert merge_rounding(np.zeros(2), scale=0).tolist() == [0, 0]
