"""How sure a mean over few subjects is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: over the subjects.
        low: lower end.
        high: upper end.
        num_subjects: how many subjects had a value.
    """

    mean: float
    low: float
    high: float
    num_subjects: int


def bootstrap_interval(
    values: NDArray[np.float64], *, num_samples: int, seed: int, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of the mean, resampling subjects with replacement (Efron 1979).

    Args:
        values: one per subject, `(num_subjects,)`; NaN marks an undefined value, which is left out.
        num_samples: bootstrap samples.
        seed: of the resampling; one seed resamples the same subjects for every metric.
        level: share of the bootstrap means inside the interval.

    Raises:
        ValueError: no defined value.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        raise ValueError(f"values must hold a defined value, got {len(values)} undefined ones")
    draws = np.random.default_rng(seed).integers(0, len(defined), (num_samples, len(defined)))
    tail = (1 - level) / 2
    low, high = np.quantile(defined[draws].mean(axis=1), [tail, 1 - tail])
    return Interval(float(defined.mean()), float(low), float(high), len(defined))
