"""Scores with the MR misregistered or a modality missing."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodalnet.errors import DataError
from pipeline.comparison.scores import (
    Methods,
    Runs,
    interval,
    paired_values,
    read_cases,
    resampled_means,
    score,
)
from pipeline.comparison.statements import Statement
from pipeline.comparison.titles import METRICS
from pipeline.comparison.titles import short_title_of as title
from pipeline.config.sections import CompareConfig
from pipeline.evaluation.prediction import ALONE, VIEW_TITLES, View
from pipeline.evaluation.score_cases import MEAN, MISREGISTRATION_COLUMNS, MISREGISTRATION_FILE

# What a comparison keeps of them, so that the folds of a cross-validation can be pooled.
MISREGISTRATION_CASES, MODALITY_CASES = "misregistration_cases.csv", "modality_cases.csv"


@dataclass(frozen=True)
class Conditions:
    """Scores per case; a table is empty where nothing was measured.

    Attributes:
        misregistration: method, seed, and the columns of an evaluation's misregistration.csv.
        modalities: method, view (a modality alone), seed, and the columns of cases.csv.
    """

    misregistration: pd.DataFrame = field(default_factory=pd.DataFrame)
    modalities: pd.DataFrame = field(default_factory=pd.DataFrame)


def read_conditions(runs: Runs) -> Conditions:
    """Read what was measured of each method; a method may have nothing, as one of a single stream has.

    Raises:
        DataError: a table is malformed, only some seeds of a method have it, or methods were measured differently.
    """
    misregistration = _tables(runs, Path(MISREGISTRATION_FILE), _read_misregistration)
    modalities = []
    for view in ALONE:
        found = _tables(runs, Path(view, "cases.csv"), read_cases)
        modalities += [table.assign(view=view.value) for table in found]
    conditions = Conditions(*(_joined(tables) for tables in (misregistration, modalities)))
    _check(conditions)
    return conditions


def read_kept(comparison: Path) -> Conditions:
    """Read what a comparison kept of them.

    Raises:
        DataError: a table is malformed.
    """
    displaced, alone = comparison / MISREGISTRATION_CASES, comparison / MODALITY_CASES
    return Conditions(
        _read_misregistration(displaced) if displaced.exists() else pd.DataFrame(),
        read_cases(alone) if alone.exists() else pd.DataFrame(),
    )


def write_kept(folder: Path, conditions: Conditions) -> None:
    """Write the tables into the folder of a comparison; an empty one is not written."""
    tables = {MISREGISTRATION_CASES: conditions.misregistration, MODALITY_CASES: conditions.modalities}
    for name, table in tables.items():
        if not table.empty:
            table.to_csv(folder / name, index=False, float_format="%.6g")


def _tables(runs: Runs, file: Path, read: Callable[[Path], pd.DataFrame]) -> list[pd.DataFrame]:
    """Read a file of every run that has it, with method and seed before its columns."""
    tables = []
    for method, folders in runs.items():
        paths = {seed: folder / file for seed, folder in folders.items()}
        _check_seeds(method, paths)
        for seed, path in paths.items():
            if path.exists():
                table = read(path)
                columns = ["method", "seed", *table.columns]
                tables.append(table.assign(method=method, seed=seed)[columns])
    return tables


def _check_seeds(method: str, paths: Mapping[int, Path]) -> None:
    missing = [path for path in paths.values() if not path.exists()]
    if missing and len(missing) < len(paths):
        raise DataError(
            f"{missing[0]} not found, but another seed of {method} has it: run `dvc repro evaluate`"
        )


def _read_misregistration(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): run `dvc repro evaluate`") from error
    if missing := [column for column in MISREGISTRATION_COLUMNS if column not in table.columns]:
        raise DataError(f"{path} lacks {', '.join(missing)}: run `dvc repro --force evaluate`")
    return table.astype({"moved_mm": float, "turned_degrees": float})


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _check(conditions: Conditions) -> None:
    """Make sure that all were measured on the same pairs, and displaced by the same amounts."""
    for table, keys in (
        (conditions.misregistration, ["pair", "moved_mm"]),
        (conditions.modalities, ["pair", "view"]),
    ):
        if table.empty:
            continue
        seen = {
            run: set(rows[keys].itertuples(index=False, name=None))
            for run, rows in table.groupby(["method", "seed"])
        }
        (first, expected), *others = seen.items()
        for (method, seed), found in others:
            if found != expected:
                raise DataError(
                    f"{method}, seed {seed}: not measured at the {keys[1]} and pairs of {first[0]}, seed {first[1]}: "
                    "run `dvc repro evaluate evaluate-ablation`"
                )


COLUMNS = (
    "method", "view", "metric", "mean", "low", "high", "difference", "difference_low", "difference_high",
    "num_subjects", "num_seeds",
)  # fmt: skip
TABLE, STATEMENTS = "modalities.csv", "modality_statements.json"
# What makes the difference of MR alone to the pair one between labels too, of another heart in MM-WHS.
OTHER_HEART = "scored against the MR's own label, not against that of the CT"


@dataclass(frozen=True)
class Modalities:
    """What is known about methods that can do without a modality.

    Attributes:
        table: `COLUMNS`.
        statements: statements in plain words, one per method.
    """

    table: pd.DataFrame
    statements: list[Statement]


def compare_modalities(methods: Methods, alone: pd.DataFrame, params: CompareConfig) -> Modalities:
    """Compare what each method makes of the pair and of either modality alone.

    Args:
        methods: scores of the pairs, by method.
        alone: `conditions.Conditions.modalities`, not empty.
        params: bootstrap.
    """
    table = modality_table(methods, alone, params)
    dice = table[table["metric"] == METRICS[0].key]
    said = [_statement(str(name), own) for name, own in dice.groupby("method", sort=False)]
    return Modalities(table, said)


def modality_table(methods: Methods, alone: pd.DataFrame, params: CompareConfig) -> pd.DataFrame:
    """Average every metric over structures, subjects and seeds, for each view of a method that has more than one.

    Returns:
        `COLUMNS`; difference = view - pair in the metric's own unit, with its paired 95 % interval, empty for the pair
        itself. No row where nothing is defined.
    """
    rows = []
    for method in dict.fromkeys(alone["method"]):
        own = alone[alone["method"] == method]
        views = {View.PAIR: methods[method], **{view: own[own["view"] == view] for view in ALONE}}
        for view, cases in views.items():
            for metric in METRICS:
                if (found := score(cases, MEAN, metric, params)) is None:
                    continue
                *means, num_subjects, num_seeds = found
                change = (
                    (None,) * 3
                    if view is View.PAIR
                    else _difference(views[View.PAIR], cases, metric.key, params)
                )
                rows.append((method, view.value, metric.key, *means, *change, num_subjects, num_seeds))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_modalities(folder: Path, found: Modalities) -> None:
    """Write the table and statements into an existing folder."""
    found.table.to_csv(folder / TABLE, index=False, float_format="%.6g")
    (folder / STATEMENTS).write_text(
        json.dumps(found.statements, indent=2, ensure_ascii=False) + "\n", "utf-8"
    )


def _difference(
    pair: pd.DataFrame, view: pd.DataFrame, metric: str, params: CompareConfig
) -> tuple[float | None, float | None, float | None]:
    values = paired_values([pair, view], MEAN, metric)
    if not values.size:
        return None, None, None
    means = resampled_means(values, params)
    before, after = values.mean(axis=(1, 2))
    return float(after - before), *interval(means[:, 1] - means[:, 0])


def _statement(method: str, dice: pd.DataFrame) -> Statement:
    rows = {View(row["view"]): row for row in dice.to_dict("records")}
    parts = [_part(view, row) for view, row in rows.items()]
    text = f"{title(method)}, one set of weights: Dice {'; '.join(parts)}."
    return {"metric": METRICS[0].key, "kind": "note", "text": text}


def _part(view: View, row: Mapping[Any, Any]) -> str:
    text = f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}] from {VIEW_TITLES[view]}"
    if view is View.PAIR:
        return text
    turn, word = (-1, "less") if row["difference"] < 0 else (1, "more")
    low, high = sorted((turn * row["difference_low"], turn * row["difference_high"]))
    text += f", {turn * row['difference']:.3f} [{low:.3f}, {high:.3f}] {word}"
    return f"{text} ({OTHER_HEART})" if view is View.MR_ALONE else text
