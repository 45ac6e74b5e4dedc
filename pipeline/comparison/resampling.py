"""Means of several methods when other subjects and other seeds had been drawn, the same for all methods."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.scores import by_subject
from pipeline.config.sections import CompareConfig

TAIL = 0.025


def paired_values(
    tables: Sequence[pd.DataFrame], structure: str, metric: str = "dice"
) -> NDArray[np.float64]:
    """Lay out one metric of several methods.

    Args:
        tables: tables of methods that were scored on the same cases with the same seeds.
        structure: structure as `scores.by_subject` takes it.
        metric: column of the metric.

    Returns:
        `(num_methods, num_subjects, num_seeds)`, without the subjects that any method has undefined with any seed.
    """
    values = np.stack([by_subject(table, metric, structure).to_numpy(np.float64) for table in tables])
    return values[:, np.isfinite(values).all(axis=(0, 2))]


def resampled_means(values: NDArray[np.float64], params: CompareConfig) -> NDArray[np.float64]:
    """Draw subjects and, apart from them, seeds with replacement (pigeonhole bootstrap, Owen 2007), all methods alike.

    The draws are those of `crossmodalnet.metrics.paired.bootstrap_interval_seeds`.

    Args:
        values: `(num_methods, num_subjects, num_seeds)`, finite.
        params: number of samples, seed.

    Returns:
        Mean over subjects and seeds of each method, `(num_samples, num_methods)`.
    """
    _, num_subjects, num_seeds = values.shape
    rng = np.random.default_rng(params.seed)
    subjects = _shares(rng, num_subjects, params.bootstrap_samples)
    seeds = _shares(rng, num_seeds, params.bootstrap_samples)
    means: NDArray[np.float64] = np.einsum("bn,mnk,bk->bm", subjects, values, seeds, optimize=True)
    return means


def interval(samples: NDArray[np.float64]) -> tuple[float, float]:
    """Give the ends of the 95 % percentile interval."""
    low, high = np.quantile(samples, [TAIL, 1 - TAIL])
    return float(low), float(high)


def _shares(rng: np.random.Generator, number: int, num_samples: int) -> NDArray[np.float64]:
    """Draw `number` of `number` things; the share of each in every sample, `(num_samples, number)`."""
    drawn = rng.integers(0, number, (num_samples, number))
    places = drawn + number * np.arange(num_samples)[:, None]
    return np.bincount(places.ravel(), minlength=number * num_samples).reshape(num_samples, number) / number
