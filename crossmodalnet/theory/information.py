"""Estimate mutual information between samples (Definition 7), in nats, with 95 % intervals."""

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

NEIGHBOURS = 4  # k of the k-NN estimator; a larger one has less variance and more bias
# Added to the eigenvalues of a correlation matrix; bounds the information at about 11 nats per dimension.
RIDGE = 1e-10
JITTER = 1e-8  # standard deviations of noise that breaks ties


def copula_information(x: Samples, y: Samples) -> float:
    """Estimate mutual information by a Gaussian copula (Ince et al. 2017).

    Invariant to increasing maps of any column of `(n, p)` and `(n, q)`, n > p + q. Exact for Gaussian copulas, else a
    lower bound for many samples. May be slightly negative.
    """
    return gaussian_information(normal_scores(x), normal_scores(y))


def gaussian_information(x: Samples, y: Samples) -> float:
    """Estimate the information of jointly Gaussian `(n, p)` and `(n, q)` without bias; constant columns are dropped.

    Raises:
        ValueError: x and y differ in rows, or have too few.
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

    Too low for many dimensions or much information (`docs/results/estimators.md`). Standardises `(n, p)` and `(n, q)`.

    Raises:
        ValueError: x and y differ in rows, or have too few.
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
    """Jackknife estimates (Quenouille 1956, Tukey 1958); differences are paired by omitted case."""

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
        """Change from each estimate to the next, `(m - 1,)`; for information, the flow of Eq. 33."""
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
    """Estimate `(m,)` from all cases, and without each case."""
    cases = list(range(num_cases))
    pooled = estimate(cases)
    if num_cases == 1:
        return JackknifeEstimate(pooled, np.empty((0, len(pooled))))
    left_out = [estimate([case for case in cases if case != without]) for without in cases]
    return JackknifeEstimate(pooled, np.stack(left_out))
