import numpy as np
import pytest
from scipy.special import digamma
from scipy.stats import ortho_group

from crossmodalnet.theory import information as estimators
from crossmodalnet.theory.information import copula_information, knn_information, leave_one_out

# As the audit's defaults: 5 cases of 400 tokens, and of 125 at the deepest level.
SIZES = (2000, 625)


def _correlated(information, dim, n, seed):
    """Gaussian samples whose mutual information, spread over the dimensions, is known."""
    rng = np.random.default_rng([seed, n, dim])
    rho = np.sqrt(1 - np.exp(-2 * information / dim))
    x = rng.standard_normal((n, dim))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(x.shape)


def _noisy(width, n, seed):
    """x uniform on [0, 1], y = x + noise uniform on [0, width]: I = -log(width) + width / 2."""
    rng = np.random.default_rng([seed, n])
    x = rng.uniform(size=(n, 1))
    return x, x + rng.uniform(0, width, (n, 1))


def _tolerance(information):
    return max(0.05, 0.05 * information)


# Neighbours for one dimension; the copula for any but where so much information is in one that ranks blur it.
INFORMATION = (0.0, 0.1, 0.5, 1.0, 2.0, 4.0)
ACCURATE = [(knn_information, 1, nats) for nats in INFORMATION] + [
    (copula_information, dim, nats) for dim in (1, 2, 4, 8, 16, 32) for nats in INFORMATION if nats / dim <= 3
]


# Means of 6 repetitions; `python -m benchmarks.estimators` prints all.
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("estimate", "dim", "information"), ACCURATE)
def test_estimators_on_gaussians(estimate, dim, information, n):
    estimates = [estimate(*_correlated(information, dim, n, seed)) for seed in range(6)]
    assert np.mean(estimates) == pytest.approx(information, abs=_tolerance(information))


# Far from Gaussian, where the copula is too low.
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("width", [0.1, 0.5, 1.0])
def test_neighbours_on_uniform_noise(width, n):
    truth = -np.log(width) + width / 2
    samples = [_noisy(width, n, seed) for seed in range(6)]
    mean = np.mean([knn_information(*pair) for pair in samples])
    assert mean == pytest.approx(truth, abs=_tolerance(truth))
    assert np.mean([copula_information(*pair) for pair in samples]) < truth - 0.03


def test_neighbours_agree_with_a_loop():
    x, y = _correlated(1.0, 2, 60, 0)
    x, y = ((s - s.mean(0)) / s.std(0, ddof=1) for s in (x, y))
    terms = []
    for i in range(60):
        dx, dy = np.abs(x - x[i]).max(1), np.abs(y - y[i]).max(1)
        radius = np.sort(np.maximum(dx, dy))[3]  # the third neighbour; the point itself comes first
        terms.append(digamma(np.sum(dx < radius)) + digamma(np.sum(dy < radius)))
    expected = digamma(3) + digamma(60) - np.mean(terms)
    assert knn_information(x, y, 3) == pytest.approx(expected, abs=1e-6)


def test_normal_scores_by_hand():
    # Ranks 1, 2.5, 2.5, 4 of 4: quantiles of 0.2, 0.5, 0.5, 0.8.
    scores = estimators.normal_scores(np.array([[-7.0], [3.0], [3.0], [100.0]]))
    np.testing.assert_allclose(scores[:, 0], [-0.8416212, 0, 0, 0.8416212], atol=1e-7)


def test_copula_depends_on_ranks_alone():
    x, y = _correlated(1.0, 3, 300, 0)
    information = copula_information(x, y)
    assert copula_information(np.exp(x), y**3) == information
    assert copula_information(y, x) == pytest.approx(information, abs=1e-9)
    assert copula_information(-x[:, ::-1], y) == pytest.approx(information, abs=1e-9)
    order = np.random.default_rng(0).permutation(300)
    assert copula_information(x[order], y[order]) == pytest.approx(information, abs=1e-9)


def test_neighbours_are_invariant_to_scaling_and_nearly_to_rotation():
    x, y = _correlated(1.0, 3, 1000, 0)
    information = knn_information(x, y)
    assert knn_information(x * [1e-3, 1, 1e3] + 7, y) == pytest.approx(information, abs=1e-6)
    assert knn_information(y, x) == pytest.approx(information, abs=1e-6)
    rotated = x @ ortho_group.rvs(3, random_state=0)
    assert knn_information(rotated, y) == pytest.approx(information, abs=0.1)


@pytest.mark.parametrize("estimate", [copula_information, knn_information])
def test_degenerate_samples(estimate):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 500, 2))
    assert estimate(x, np.ones((500, 1))) == 0
    with_constant = np.hstack([x, np.full((500, 1), 2.0)])
    assert estimate(with_constant, y) == pytest.approx(estimate(x, y), abs=1e-6)
    assert 3 < estimate(x, x) < 30


def test_neighbours_of_tied_samples():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 2000, 1))
    tied = rng.uniform(size=(2000, 1)) < 0.5
    # x and y share whether they are tied, log 2; some that are not come too close to those that are.
    assert 0.4 < knn_information(np.where(tied, 0, x), np.where(tied, 0, y)) < np.log(2)


def test_too_few_or_unequal_samples_are_rejected():
    with pytest.raises(ValueError, match="more than 4 rows, got 4"):
        copula_information(np.zeros((4, 2)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="more than 8 rows, got 8"):
        knn_information(np.zeros((8, 2)), np.zeros((8, 2)), neighbours=8)
    with pytest.raises(ValueError, match="equally many rows, got 8 and 7"):
        estimators.gaussian_information(np.zeros((8, 2)), np.zeros((7, 2)))


VALUES = np.array([[1.0, 10.0], [2.0, 14.0], [6.0, 12.0]])


def _mean(cases: list[int]) -> np.ndarray:
    return VALUES[cases].mean(axis=0)


def test_jackknife_interval_of_a_mean_is_that_of_student():
    # Mean 3, standard deviation sqrt(7); t with 2 degrees of freedom is 4.302653.
    low, high = leave_one_out(_mean, 3).interval
    half = 4.302653 * np.sqrt(7 / 3)
    assert (low[0], high[0]) == pytest.approx((3 - half, 3 + half))


def test_changes_and_differences_are_paired():
    estimate = leave_one_out(_mean, 3)
    # Differences per case: 9, 12, 6.
    low, high = estimate.change.interval
    assert (low[0], high[0]) == pytest.approx((9 - 4.302653 * np.sqrt(3), 9 + 4.302653 * np.sqrt(3)))
    same = estimate.minus(estimate)
    assert same.pooled.tolist() == same.interval[0].tolist() == [0, 0]


def test_a_single_case_has_no_interval():
    estimate = leave_one_out(lambda cases: np.array([-2.0, 3.0]), 1)
    assert not estimate.certain
    assert estimate.interval[0].tolist() == estimate.interval[1].tolist() == [-2, 3]
    assert not estimate.below().any()
    assert not estimate.change.above().any()


def test_intervals_above_and_below_zero():
    left_out = np.array([[-1.0, 0.0, 1.0], [-1.001, 0.001, 1.001]])
    estimate = estimators.JackknifeEstimate(np.array([-1.0, 0.0, 1.0]), left_out)
    assert estimate.below().tolist() == [True, False, False]
    assert estimate.above().tolist() == [False, False, True]
