"""Read the scores of methods per case, and average them with bootstrap intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.metrics.scores import METRICS
from crossmodalnet.metrics.statistics import bootstrap_interval, bootstrap_means, quantile_interval
from pipeline.config.sections import CompareConfig
from pipeline.config.variants import ATLAS, is_ablation, method_of
from pipeline.evaluation.score_cases import MEAN
from pipeline.runtime.inputs import read_table
from pipeline.runtime.paths import of_run

Group = Literal["model", "atlas", "ablation"]
# By method: a row per seed, pair and structure.
Methods = Mapping[str, pd.DataFrame]
# Evaluation folders by method and seed.
Runs = Mapping[str, Mapping[int, Path]]
CASES = "cases.csv"
COLUMNS = ("method", "group", "structure", "metric", "mean", "low", "high", "num_subjects", "num_seeds")
# The four structures of cross-modality adaptation (SIFA, Chen 2020, IEEE TMI 39:2494).
MEAN4 = "mean4"
MEANS: Mapping[str, tuple[str, ...]] = MappingProxyType({MEAN: ABBREVIATIONS, MEAN4: ("AO", "LA", "LV", "Myo")})


def group_of(method: str) -> Group:
    """Classify a method by its name: model, ablation or atlas."""
    if method == ATLAS:
        return "atlas"
    return "ablation" if is_ablation(method) else "model"


def runs_of(
    evaluation: Path, models: Sequence[str], ablations: Sequence[str], seeds: Sequence[int], *, atlas: bool = True
) -> Runs:
    """List the evaluation folders of models, the atlas baseline (seed 0) and ablations."""
    runs = {name: {seed: of_run(evaluation, name, seed) for seed in seeds} for name in models}
    if atlas:
        runs[ATLAS] = {0: evaluation / ATLAS}
    for name in map(method_of, ablations):
        runs[name] = {seed: of_run(evaluation, name, seed) for seed in seeds}
    return runs


def read_methods(runs: Runs, stages: str = "evaluate atlas") -> dict[str, pd.DataFrame]:
    """Read the cases of every method: seed, then the columns of cases.csv."""
    methods = {}
    for name, folders in runs.items():
        tables = [read_cases(folder / CASES, stages).assign(seed=seed) for seed, folder in folders.items()]
        table = pd.concat(tables, ignore_index=True)
        methods[name] = table[["seed", *(column for column in table.columns if column != "seed")]]
    return methods


def read_cases(path: Path, stages: str = "evaluate atlas") -> pd.DataFrame:
    """Read a table of scores per pair and structure; DataError if it is missing, not a table, or lacks a column."""
    return read_table(path, stages, ("pair", "structure", *(metric.key for metric in METRICS)))


def check_methods(methods: Methods) -> None:
    """Check that all methods were scored on the same pairs, once per seed.

    Raises:
        DataError: the message gives the method and the pairs, structures or seed.
    """
    expected: set[str] | None = None
    for name, table in methods.items():
        if table.duplicated(["seed", "pair", "structure"]).any():
            raise DataError(f"{name}: a pair was scored twice with one seed")
        if unknown := sorted(set(table["structure"]) - set(ABBREVIATIONS)):
            raise DataError(f"{name}: unknown structure {', '.join(unknown)}")
        for seed, run in table.groupby("seed"):
            pairs = set(run["pair"])
            expected = expected or pairs
            if len(run) != len(pairs) * len(ABBREVIATIONS):
                raise DataError(f"{name}, seed {seed}: every pair needs a row for each of {ABBREVIATIONS}")
            if pairs != expected:
                odd = ", ".join(sorted(pairs ^ expected))
                raise DataError(f"{name}, seed {seed}: not scored on the pairs of the others ({odd})")
    if not expected:
        raise DataError("nothing to compare: no method was scored on any pair")


def by_subject(cases: pd.DataFrame, metric: str, structure: str = MEAN) -> pd.DataFrame:
    """Pivot one metric of one method: a row per pair (sorted), a column per seed; NaN where undefined.

    Args:
        structure: abbreviation, or a key of `MEANS` for the mean over its defined structures.
    """
    if structure in MEANS:
        values = cases[cases["structure"].isin(MEANS[structure])].groupby(["pair", "seed"])[metric].mean()
    else:
        values = cases[cases["structure"] == structure].set_index(["pair", "seed"])[metric]
    return values.unstack("seed").sort_index()


def score_table(methods: Methods, params: CompareConfig) -> pd.DataFrame:
    """Average every metric over subjects and seeds, per structure and over structures: `COLUMNS`."""
    rows = []
    for method, cases in methods.items():
        for structure in (*ABBREVIATIONS, MEAN):
            for metric in METRICS:
                row = score(cases, structure, metric.key, params)
                rows += [(method, group_of(method), structure, metric.key, *row)] if row else []
    return pd.DataFrame(rows, columns=list(COLUMNS))


def score(
    cases: pd.DataFrame, structure: str, metric: str, params: CompareConfig
) -> tuple[float, float, float, int, int] | None:
    """Average over subjects and seeds: mean, low, high, num_subjects, num_seeds; None where undefined."""
    values = by_subject(cases, metric, structure).to_numpy(np.float64)
    if not np.isfinite(values).any():
        return None
    interval = bootstrap_interval(values, num_samples=params.bootstrap_samples, seed=params.seed)
    return *interval, values.shape[1]


def paired_values(tables: Sequence[pd.DataFrame], structure: str, metric: str = "dice") -> NDArray[np.float64]:
    """Stack one metric of several methods, `(num_methods, num_subjects, num_seeds)`.

    Subjects that any method has undefined with any seed are left out.
    """
    values = np.stack([by_subject(table, metric, structure).to_numpy(np.float64) for table in tables])
    return values[:, np.isfinite(values).all(axis=(0, 2))]


def resampled_means(values: NDArray[np.float64], params: CompareConfig) -> NDArray[np.float64]:
    """Bootstrap the means of `(num_methods, num_subjects, num_seeds)`: `(num_samples, num_methods)`."""
    return bootstrap_means(values, num_samples=params.bootstrap_samples, seed=params.seed)


def difference_of(
    tables: Sequence[pd.DataFrame], structure: str, metric: str, params: CompareConfig
) -> tuple[float, float, float] | None:
    """Compute second - first method with its paired interval; None where nothing is defined."""
    values = paired_values(tables, structure, metric)
    if not values.size:
        return None
    means = resampled_means(values, params)
    first, second = values.mean(axis=(1, 2))
    return float(second - first), *quantile_interval(means[:, 1] - means[:, 0])
