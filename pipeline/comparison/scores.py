"""How good every method is: means over subjects and seeds with their intervals."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.metrics.paired import bootstrap_interval_seeds
from pipeline.comparison.methods import Methods, group_of
from pipeline.comparison.titles import METRICS, Metric
from pipeline.config.sections import CompareConfig
from pipeline.evaluation.tables import MEAN

COLUMNS = ("method", "group", "structure", "metric", "mean", "low", "high", "num_subjects", "num_seeds")
# The four structures that adaptation between modalities is scored on elsewhere (SIFA, Chen 2020, IEEE TMI 39:2494).
MEAN4 = "mean4"
MEANS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {MEAN: ABBREVIATIONS, MEAN4: ("AO", "LA", "LV", "Myo")}
)


def by_subject(cases: pd.DataFrame, metric: str, structure: str = MEAN) -> pd.DataFrame:
    """Lay out one metric of one method.

    Args:
        cases: columns seed, pair, structure and the metric.
        metric: column of the metric.
        structure: abbreviation, or a key of `MEANS`: over the defined ones of these structures of a case.

    Returns:
        Row per pair (sorted), column per seed; NaN where undefined.
    """
    if structure in MEANS:
        values = cases[cases["structure"].isin(MEANS[structure])].groupby(["pair", "seed"])[metric].mean()
    else:
        values = cases[cases["structure"] == structure].set_index(["pair", "seed"])[metric]
    return values.unstack("seed").sort_index()


def subject_means(cases: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """Average one metric per pair, over its defined structures, then over seeds; sorted by pair."""
    return by_subject(cases, metric).mean(axis=1)


def score_table(methods: Methods, params: CompareConfig) -> pd.DataFrame:
    """Average every metric over subjects and seeds, per structure and for the mean of structures.

    Returns:
        `COLUMNS`; no row where nothing is defined.
    """
    rows = []
    for method, cases in methods.items():
        for structure in (*ABBREVIATIONS, MEAN):
            for metric in METRICS:
                row = score(cases, structure, metric, params)
                rows += [(method, group_of(method), structure, metric.key, *row)] if row else []
    return pd.DataFrame(rows, columns=list(COLUMNS))


def score(
    cases: pd.DataFrame, structure: str, metric: Metric, params: CompareConfig
) -> tuple[float, float, float, int, int] | None:
    """Average one metric of one method over subjects and seeds.

    Returns:
        Mean, lower and upper end of its interval, numbers of subjects and seeds; None where nothing is defined.
    """
    values = by_subject(cases, metric.key, structure).to_numpy(np.float64)
    if not np.isfinite(values).any():
        return None
    found = bootstrap_interval_seeds(values, num_samples=params.bootstrap_samples, seed=params.seed)
    return found.mean, found.low, found.high, found.num_subjects, values.shape[1]
