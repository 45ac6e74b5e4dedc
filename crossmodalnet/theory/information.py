"""Estimators of mutual information between samples, as Definition 7 needs it, in nats, and their 95 % intervals."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import digamma, ndtri
from scipy.stats import rankdata
from scipy.stats import t as student

from crossmodalnet.training.cmif import log_det_bias

Samples = NDArray[np.float64]

# k of the k-nearest-neighbour estimator; a larger one has less variance and more bias.
NEIGHBOURS = 4
# Added to every eigenvalue of a correlation matrix: bounds the information of samples that determine each other,
# at about 11 nats per dimension, without moving others.
RIDGE = 1e-10
# Standard deviations of noise that breaks ties before neighbours are counted.
JITTER = 1e-8


def copula_information(x: Samples, y: Samples) -> float:
    """Estimate mutual information by a Gaussian copula (Ince et al. 2017), exact where monotone maps make all Gaussian.

    Bit-equal under increasing maps of any column of `(n, p)` and `(n, q)`, n > p + q; a lower bound in the limit of
    many samples for other distributions. A little below 0 at times, where there is none.
    """
    return gaussian_information(normal_scores(x), normal_scores(y))


def gaussian_information(x: Samples, y: Samples) -> float:
    """Estimate the mutual information of jointly Gaussian samples, without bias.

    From log-determinants of sample covariances, less their bias: the expectation of the logarithm of a Wishart
    matrix's determinant (`log_det_bias`) exceeds that of the covariance by a number that depends on none of the
    correlations. The same for any invertible linear map of x `(n, p)` or of y `(n, q)`. Constant columns are left out.

    Raises:
        ValueError: another number of rows in y, or not enough of them.
    """
    _check(x, y, x.shape[1] + y.shape[1])
    x, y = _varying(x), _varying(y)
    df, p, q = len(x) - 1, x.shape[1], y.shape[1]
    if not p or not q:
        return 0.0
    both = np.hstack([x, y])
    covariance = both.T @ both / df + RIDGE * np.eye(p + q)
    parts = (covariance[:p, :p], covariance[p:, p:], covariance)
    own_x, own_y, joint = (float(np.linalg.slogdet(part)[1]) for part in parts)
    bias = log_det_bias(p, df) + log_det_bias(q, df) - log_det_bias(p + q, df)
    return float(own_x + own_y - joint - bias) / 2


def knn_information(x: Samples, y: Samples, neighbours: int = NEIGHBOURS) -> float:
    """Estimate mutual information by counting neighbours (Kraskov, Stoegbauer and Grassberger 2004, algorithm 1).

    No assumption on the distribution, but too low where dimensions are many or the information is large
    (`docs/results/estimators.md` shows how much). Columns of `(n, p)` and `(n, q)` are standardised first; ties are
    broken by noise.

    Raises:
        ValueError: another number of rows in y, or not enough of them.
    """
    _check(x, y, neighbours)
    x, y = _varying(x), _varying(y)
    if not x.shape[1] or not y.shape[1]:
        return 0.0
    noise = np.random.default_rng(0)
    x = x + JITTER * noise.standard_normal(x.shape)
    y = y + JITTER * noise.standard_normal(y.shape)
    both = np.hstack([x, y])
    distance = np.asarray(cKDTree(both).query(both, [neighbours + 1], p=np.inf)[0])[:, 0]
    # The tree counts up to a radius, the estimator below it.
    radius = np.nextafter(distance, 0)
    near_x, near_y = (cKDTree(s).query_ball_point(s, radius, p=np.inf, return_length=True) for s in (x, y))
    mean = float(np.mean(digamma(near_x) + digamma(near_y)))
    return float(digamma(neighbours) + digamma(len(x))) - mean


def normal_scores(x: Samples) -> Samples:
    """Replace each column of `(n, p)` by the normal quantiles of its ranks; ties share their mean rank."""
    return ndtri(rankdata(x, axis=0) / (len(x) + 1))


def _check(x: Samples, y: Samples, at_least: int) -> None:
    if len(x) != len(y):
        raise ValueError(f"x and y must have equally many rows, got {len(x)} and {len(y)}")
    if len(x) <= at_least:
        raise ValueError(f"x and y must have more than {at_least} rows, got {len(x)}")


def _varying(x: Samples) -> Samples:
    """Standardise the columns that are not constant and drop the others."""
    deviation = x.std(axis=0, ddof=1)
    kept = deviation > 1e-12 * np.abs(x).max(axis=0)
    return (x[:, kept] - x[:, kept].mean(axis=0)) / deviation[kept]


@dataclass(frozen=True)
class JackknifeEstimate:
    """Estimates from all cases, and without each of them (Quenouille 1956, Tukey 1958).

    Differences are taken for each omitted case, so that their intervals are paired.
    """

    pooled: Samples  # (m,), from all cases together
    left_out: Samples  # (num_cases, m), row i without case i; no rows for a single case

    @property
    def certain(self) -> bool:
        """True if there are intervals, which need two cases."""
        return len(self.left_out) > 1

    @property
    def interval(self) -> tuple[Samples, Samples]:
        """Ends `(m,)` of the 95 % interval by Student's t; the estimate itself for a single case."""
        n = len(self.left_out)
        if n < 2:
            return self.pooled, self.pooled
        spread = ((self.left_out - self.left_out.mean(axis=0)) ** 2).sum(axis=0)
        half = student.ppf(0.975, n - 1) * np.sqrt((n - 1) / n * spread)
        return self.pooled - half, self.pooled + half

    @property
    def change(self) -> "JackknifeEstimate":
        """Change from each estimate to the next, `(m - 1,)`: of information, the flow of Eq. 33."""
        return JackknifeEstimate(np.diff(self.pooled), np.diff(self.left_out, axis=1))

    def minus(self, other: "JackknifeEstimate") -> "JackknifeEstimate":
        """Subtract estimates from the same cases."""
        return JackknifeEstimate(self.pooled - other.pooled, self.left_out - other.left_out)

    def above(self) -> NDArray[np.bool_]:
        """Mark the intervals `(m,)` that lie above 0; none without intervals."""
        return (self.interval[0] > 0) & self.certain

    def below(self) -> NDArray[np.bool_]:
        """Mark the intervals `(m,)` that lie below 0; none without intervals."""
        return (self.interval[1] < 0) & self.certain


def leave_one_out(estimate: Callable[[list[int]], Samples], num_cases: int) -> JackknifeEstimate:
    """Estimate `(m,)` from the indices of all cases, and from those without each case."""
    cases = list(range(num_cases))
    pooled = estimate(cases)
    if num_cases == 1:
        return JackknifeEstimate(pooled, np.empty((0, len(pooled))))
    left_out = [estimate([case for case in cases if case != without]) for without in cases]
    return JackknifeEstimate(pooled, np.stack(left_out))
