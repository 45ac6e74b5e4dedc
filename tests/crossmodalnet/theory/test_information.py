from functools import partial

import numpy as np
import pytest
from scipy.special import digamma
from scipy.stats import ortho_group

from crossmodalnet.theory.information import (
    copula_information,
    gaussian_information,
    knn_information,
    normal_scores,
)

# As the audit's defaults: 5 cases of 400 tokens, and of 125 at the deepest level.
SIZES = (2000, 625)


def _correlated(information: float, dim: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian samples whose mutual information, spread over the dimensions, is known."""
    rng = np.random.default_rng([seed, n, dim])
    rho = np.sqrt(1 - np.exp(-2 * information / dim))
    x = rng.standard_normal((n, dim))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(x.shape)


def _noisy(width: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x uniform on [0, 1], y = x + noise uniform on [0, width]: I = -log(width) + width / 2."""
    rng = np.random.default_rng([seed, n])
    x = rng.uniform(size=(n, 1))
    return x, x + rng.uniform(0, width, (n, 1))


def _tolerance(information: float) -> float:
    return max(0.05, 0.05 * information)


# The better estimator on Gaussians, means of 6 repetitions; the table with deviations is in docs/estimators.md.
# It is the copula but for one dimension with so much information that ranks blur it.
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dim", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("information", [0.0, 0.1, 0.5, 1.0, 2.0, 4.0])
def test_the_better_one_on_gaussians(information, dim, n):
    estimate = partial(knn_information, neighbours=4) if information / dim > 3 else copula_information
    found = [estimate(*_correlated(information, dim, n, seed)) for seed in range(6)]
    assert np.mean(found) == pytest.approx(information, abs=_tolerance(information))


# The other one where dimensions are few, means of 6.
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("information", [0.0, 0.1, 0.5, 1.0, 2.0])
def test_neighbours_on_gaussians_of_one_dimension(information, n):
    found = [knn_information(*_correlated(information, 1, n, seed), 4) for seed in range(6)]
    assert np.mean(found) == pytest.approx(information, abs=_tolerance(information))


# What neighbours miss of 1 nat grows with the dimensions; none is found where there is none.
@pytest.mark.parametrize(("dim", "bias"), [(4, -0.2), (8, -0.5), (16, -0.8)])
def test_bias_of_neighbours_in_many_dimensions(dim, bias):
    found = np.mean([knn_information(*_correlated(1.0, dim, 625, seed), 4) for seed in range(3)])
    assert found - 1 == pytest.approx(bias, abs=0.1)
    assert abs(knn_information(*_correlated(0.0, dim, 625, 0), 4)) < 0.05


# Neighbours on a distribution that is far from Gaussian, means of 6, where the copula is too low.
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("width", [0.1, 0.5, 1.0])
def test_uniform_noise(width, n):
    truth = -np.log(width) + width / 2
    samples = [_noisy(width, n, seed) for seed in range(6)]
    assert np.mean([knn_information(*pair, 4) for pair in samples]) == pytest.approx(
        truth, abs=_tolerance(truth)
    )
    assert np.mean([copula_information(*pair) for pair in samples]) < truth - 0.03


def test_neighbours_equal_a_count_written_out():
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
    scores = normal_scores(np.array([[-7.0], [3.0], [3.0], [100.0]]))
    np.testing.assert_allclose(scores[:, 0], [-0.8416212, 0, 0, 0.8416212], atol=1e-7)


def test_copula_is_unchanged_by_what_keeps_ranks():
    x, y = _correlated(1.0, 3, 300, 0)
    found = copula_information(x, y)
    assert copula_information(np.exp(x), y**3) == found
    assert copula_information(y, x) == pytest.approx(found, abs=1e-9)
    assert copula_information(-x[:, ::-1], y) == pytest.approx(found, abs=1e-9)
    order = np.random.default_rng(0).permutation(300)
    assert copula_information(x[order], y[order]) == pytest.approx(found, abs=1e-9)


def test_gaussian_formula_is_unchanged_by_linear_maps():
    x, y = _correlated(1.0, 3, 300, 0)
    mixing = np.random.default_rng(1).standard_normal((3, 3))
    found = gaussian_information(x @ mixing + 5, y)
    assert found == pytest.approx(gaussian_information(x, y), abs=1e-6)


def test_neighbours_are_unchanged_by_scaling_and_little_by_rotation():
    x, y = _correlated(1.0, 3, 1000, 0)
    found = knn_information(x, y, 4)
    assert knn_information(x * [1e-3, 1, 1e3] + 7, y, 4) == pytest.approx(found, abs=1e-6)
    assert knn_information(y, x, 4) == pytest.approx(found, abs=1e-6)
    rotated = x @ ortho_group.rvs(3, random_state=0)
    assert knn_information(rotated, y, 4) == pytest.approx(found, abs=0.1)


@pytest.mark.parametrize("estimate", [copula_information, lambda x, y: knn_information(x, y, 4)])
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
    # All that x and y share is whether they are tied, log 2; some who are not come too close to those who are.
    shared = knn_information(np.where(tied, 0, x), np.where(tied, 0, y), 4)
    assert 0.4 < shared < np.log(2)


def test_too_few_or_unequal_samples():
    x = np.zeros((8, 2))
    with pytest.raises(ValueError, match="more than 4 rows, got 4"):
        copula_information(x[:4], x[:4])
    with pytest.raises(ValueError, match="more than 8 rows, got 8"):
        knn_information(x, x, 8)
    with pytest.raises(ValueError, match="equally many rows, got 8 and 7"):
        gaussian_information(x, x[:7])
