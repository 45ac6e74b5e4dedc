import numpy as np
import pytest
from scipy import stats

from crossmodalnet.metrics.statistics import bootstrap_interval


def test_agrees_with_scipy() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.1, 20)
    found = bootstrap_interval(values, num_samples=20000, seed=1)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=2)
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval), abs=0.002)


def test_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    intervals = [bootstrap_interval(rng.normal(5, 2, 30), num_samples=400, seed=0) for _ in range(300)]
    coverage = np.mean([interval.low <= 5 <= interval.high for interval in intervals])
    assert 0.89 <= coverage <= 0.98  # the percentile bootstrap is a little narrow at 30 subjects


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
