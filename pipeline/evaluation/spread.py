"""Median and quartiles of repeated measurements."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spread:
    """Median and quartiles (`low`: 25 %, `high`: 75 %) of repeated measurements."""

    median: float
    low: float
    high: float


def spread(values: NDArray[np.float64]) -> Spread:
    """Summarise repeated measurements `(n,)`; quartiles between two values are interpolated."""
    low, median, high = (round(float(value), 6) for value in np.percentile(values, [25, 50, 75]))
    return Spread(median, low, high)
