"""Scores of the compared methods, and their means with bootstrap intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.metrics.statistics import bootstrap_interval_seeds
from pipeline.comparison.titles import METRICS, Metric
from pipeline.config.sections import CompareConfig
from pipeline.config.variants import ATLAS, is_ablation, method_of
from pipeline.evaluation.score_cases import MEAN
from pipeline.runtime.paths import of_run

Group = Literal["model", "atlas", "ablation"]
Methods = Mapping[str, pd.DataFrame]
# Evaluation folders by method and seed.
Runs = Mapping[str, Mapping[int, Path]]


def group_of(method: str) -> Group:
    """Tell models, ablations and the atlas baseline apart by their names."""
    if method == ATLAS:
        return "atlas"
    return "ablation" if is_ablation(method) else "model"


def runs_of(
    evaluation: Path,
    models: Sequence[str],
    ablations: Sequence[str],
    seeds: Sequence[int],
    *,
    atlas: bool = True,
) -> Runs:
    """Say where the evaluations of every method lie.

    Args:
        evaluation: folder with `<model>/seed<k>` and `atlas`.
        models: networks.
        ablations: ablations of CrossModalNet, without its name.
        seeds: every network and ablation was trained with each.
        atlas: whether the atlas baseline is compared too; it has the one seed 0.

    Returns:
        Folders by method and seed, models first, then the atlas baseline, then ablations.
    """
    networks = [*models, *([ATLAS] if atlas else []), *(method_of(ablation) for ablation in ablations)]
    runs: dict[str, Mapping[int, Path]] = {}
    for name in networks:
        runs[name] = (
            {0: evaluation / name} if name == ATLAS else {k: of_run(evaluation, name, k) for k in seeds}
        )
    return runs


def read_methods(runs: Runs) -> dict[str, pd.DataFrame]:
    """Read the cases of every method.

    Returns:
        Tables by method: the columns of cases.csv with the seed before them.

    Raises:
        DataError: an evaluation is missing or has no such columns.
    """
    return {
        name: read_runs({seed: folder / "cases.csv" for seed, folder in folders.items()})
        for name, folders in runs.items()
    }


def read_runs(paths: Mapping[int, Path], stages: str = "evaluate atlas") -> pd.DataFrame:
    """Read the cases of one method: the columns of cases.csv with the seed before them.

    Args:
        paths: paths of cases.csv, by seed.
        stages: stages that write the tables.

    Raises:
        DataError: a table is missing or has no such columns.
    """
    tables = [read_cases(path, stages).assign(seed=seed) for seed, path in paths.items()]
    table = pd.concat(tables, ignore_index=True)
    return table[["seed", *(column for column in table.columns if column != "seed")]]


def read_cases(path: Path, stages: str = "evaluate atlas") -> pd.DataFrame:
    """Read a table of scores per pair and structure, which one of `stages` writes.

    Raises:
        DataError: it is missing, not a table, or lacks a column.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): run `dvc repro {stages}`") from error
    needed = ("pair", "structure", *(metric.key for metric in METRICS))
    if missing := [column for column in needed if column not in table.columns]:
        raise DataError(f"{path} lacks {', '.join(missing)}: it is of an older version, evaluate again")
    return table


def check_methods(methods: Methods) -> None:
    """Make sure that all methods were scored on the same pairs, once with each of their seeds.

    Raises:
        DataError: names the method and what is wrong.
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

    The draws are those of `crossmodalnet.metrics.statistics.bootstrap_interval_seeds`.

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
