"""Mutual information of two images, from their joint histogram."""

import numpy as np
from numpy.typing import NDArray

# As many per image as ANTs' Mattes metric is given.
NUM_BINS = 32


def mutual_information(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Mutual information of paired values between 0 and 1.

    Args:
        a: `(n,)`.
        b: `(n,)`.

    Returns:
        Nats, 0 for no values.
    """
    joint, _, _ = np.histogram2d(a, b, bins=NUM_BINS, range=((0, 1), (0, 1)))
    p = joint / max(joint.sum(), 1)
    independent = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    filled = p > 0
    return float((p[filled] * np.log(p[filled] / independent[filled])).sum())
