"""Entropy and mutual information of quantised features, for which Corollary 1 is stated, in nats."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Codes = NDArray[np.int64]


def rank_codes(x: NDArray[np.float64], num_codes: int) -> Codes:
    """Give samples `(n,)` codes 0 to num_codes - 1 by their ranks, equally often but for ties, which share one."""
    share = (rankdata(x) - 0.5) / len(x)
    return np.minimum((share * num_codes).astype(np.int64), num_codes - 1)


def plug_in_entropy(codes: Codes) -> float:
    """Entropy of the frequencies of codes `(n,)`."""
    shares = np.unique(codes, return_counts=True)[1] / len(codes)
    return float(-np.sum(shares * np.log(shares)))


def plug_in_information(a: Codes, b: Codes) -> float:
    """Mutual information of the joint frequencies of codes `(n,)`, from its definition and no entropy.

    Too high by about `(A - 1) (B - 1) / (2 n)` for independent samples of A and B codes.
    """
    rows, columns = np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]
    joint = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(joint, (rows, columns), 1 / len(a))
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float(np.sum(joint[seen] * np.log(joint[seen] / independent[seen])))


def gaussian_entropy(x: NDArray[np.float64]) -> float:
    """Differential entropy of a Gaussian with the variances of `(n, p)`: no density of those has more.

    An upper bound, reached by independent Gaussian columns such as principal components may be. May be negative.
    """
    variance = np.maximum(x.var(axis=0, ddof=1), np.finfo(np.float64).tiny)
    return float(np.sum(np.log(2 * np.pi * np.e * variance))) / 2
