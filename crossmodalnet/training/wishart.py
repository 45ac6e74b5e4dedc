"""The bias of log-determinants of sample covariances, which estimates of information are less."""

import numpy as np
from scipy.special import digamma


def log_det_bias(dim: int, df: int) -> float:
    """Expected excess of `log det S` over `log det` of the covariance that the sample covariance S estimates.

    Args:
        dim: rows of the matrix.
        df: degrees of freedom, samples less one; at least `dim`.
    """
    halves = (df - np.arange(dim)) / 2
    return float(np.sum(digamma(halves) - np.log(df / 2)))
