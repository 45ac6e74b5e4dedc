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
        num_subjects: number of subjects that had a value.
    """

    mean: float
    low: float
    high: float
    num_subjects: int


def bootstrap_interval(
    values: NDArray[np.float64], *, num_samples: int, seed: int, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of the mean, resampling subjects with replacement (Efron 1979).

    With few subjects it is narrower than it says. Nominal 95 % intervals held the true mean, in 4000 simulated
    experiments each with 5, 8, 16 and 30 subjects, in 84, 88, 92 and 94 % for normal values, and in 79, 86, 91
    and 92 % for values crowded at an upper limit as good Dice scores are (beta distribution, 9 and 1).

    Args:
        values: values, one per subject, `(num_subjects,)`; NaN marks an undefined value, which is left out.
        num_samples: bootstrap samples.
        seed: seed of the resampling; one seed resamples the same subjects for every metric.
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


def bootstrap_interval_seeds(
    values: NDArray[np.float64], *, num_samples: int, seed: int, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of the mean over subjects and seeds (pigeonhole bootstrap, Owen 2007).

    Each sample draws subjects with replacement, and seeds with replacement, the same seeds for all its subjects:
    a lucky seed is lucky for all of them. The mean is that over subjects of their means over seeds. With one
    seed, this is `bootstrap_interval` exactly. It is too narrow with few subjects or few seeds: with 3 seeds that
    vary 0.3 times as much as subjects do, nominal 95 % intervals held the true mean in 85, 88, 91 and 90 % of
    1500 simulated experiments each with 5, 8, 16 and 30 subjects; resampling subjects alone, in 80 to 84 %.

    Args:
        values: `(num_subjects, num_seeds)`; NaN marks an undefined value, which is left out.
        num_samples: bootstrap samples.
        seed: seed of the resampling; the same subjects are drawn as in `bootstrap_interval`.
        level: share of the bootstrap means inside the interval.

    Raises:
        ValueError: `values` has another number of axes, or no defined value.
    """
    if values.ndim != 2:
        raise ValueError(f"values must be (num_subjects, num_seeds), got shape {values.shape}")
    defined = values[~np.isnan(values).all(axis=1)]
    if not len(defined):
        raise ValueError(f"values must hold a defined value, got {values.size} undefined ones")
    num_subjects, num_seeds = defined.shape
    rng = np.random.default_rng(seed)
    subjects = rng.integers(0, num_subjects, (num_samples, num_subjects))
    seeds = rng.integers(0, num_seeds, (num_samples, num_seeds))
    times = (seeds[:, :, None] == np.arange(num_seeds)).sum(axis=1)  # (num_samples, num_seeds)
    by_subject = _means_over_seeds(defined, times)  # (num_samples, num_subjects)
    # A subject without a value for any of the drawn seeds is left out of that sample; so is an empty sample.
    means = _mean_of_defined(np.take_along_axis(by_subject, subjects, axis=1))
    tail = (1 - level) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    mean = _means_over_seeds(defined, np.ones((1, num_seeds), np.int64)).mean()
    return Interval(float(mean), float(low), float(high), num_subjects)


def merge_rounding(values: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Make values equal that differ by floating-point rounding alone, so that ties are seen as ties.

    Args:
        values: any shape.
        scale: magnitude of the numbers that the values were computed from; a 1e-12th of it is rounding.
    """
    unit = 1e-12 * scale
    return np.round(values / unit) * unit if unit > 0 else values


def _means_over_seeds(values: NDArray[np.float64], times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of each subject `(num_subjects, num_seeds)` over seeds that occur so many `times` in a sample.

    Args:
        values: a subject's seeds, NaN where undefined.
        times: `(num_samples, num_seeds)`.

    Returns:
        `(num_samples, num_subjects)`, NaN where no drawn seed has a value.
    """
    count = times @ (~np.isnan(values)).T.astype(np.int64)
    return _ratio(times @ np.nan_to_num(values).T, count)


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean along the last axis without NaN; NaN where there is nothing else."""
    count = (~np.isnan(values)).sum(axis=-1)
    return _ratio(np.nan_to_num(values).sum(axis=-1), count)


def _ratio(total: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    result = np.full(total.shape, np.nan)
    np.divide(total, count, out=result, where=count > 0)
    return result
