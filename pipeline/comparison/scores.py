"""How good every method is: means over subjects and seeds with their intervals."""

import numpy as np
import pandas as pd

from crossmodalnet.labels import ABBREVIATIONS
from crossmodalnet.metrics.statistics import bootstrap_interval_seeds
from pipeline.comparison.methods import Methods, group_of
from pipeline.names import METRICS, Metric
from pipeline.params.compare import CompareParams
from pipeline.tables import MEAN

COLUMNS = ("method", "group", "structure", "metric", "mean", "low", "high", "num_subjects", "num_seeds")


def by_subject(cases: pd.DataFrame, metric: str, structure: str = MEAN) -> pd.DataFrame:
    """Lay out one metric of one method.

    Args:
        cases: columns seed, pair, structure and the metric.
        metric: its column.
        structure: abbreviation, or `mean`: over the defined structures of a case.

    Returns:
        Row per pair (sorted), column per seed; NaN where undefined.
    """
    if structure == MEAN:
        values = cases.groupby(["pair", "seed"])[metric].mean()
    else:
        values = cases[cases["structure"] == structure].set_index(["pair", "seed"])[metric]
    return values.unstack("seed").sort_index()


def subject_means(cases: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """Average one metric per pair, over its defined structures, then over seeds; sorted by pair."""
    return by_subject(cases, metric).mean(axis=1)


def score_table(methods: Methods, params: CompareParams) -> pd.DataFrame:
    """Average every metric over subjects and seeds, per structure and for the mean of structures.

    Returns:
        `COLUMNS`; no row where nothing is defined.
    """
    rows = []
    for method, cases in methods.items():
        for structure in (*ABBREVIATIONS, MEAN):
            for metric in METRICS:
                row = _score(cases, structure, metric, params)
                rows += [(method, group_of(method), structure, metric.key, *row)] if row else []
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _score(
    cases: pd.DataFrame, structure: str, metric: Metric, params: CompareParams
) -> tuple[float, float, float, int, int] | None:
    values = by_subject(cases, metric.key, structure).to_numpy(np.float64)
    if not np.isfinite(values).any():
        return None
    found = bootstrap_interval_seeds(values, num_samples=params.bootstrap_samples, seed=params.seed)
    return found.mean, found.low, found.high, found.num_subjects, values.shape[1]
