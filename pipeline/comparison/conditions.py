"""Compare scores of single modalities, and read scores with the MR misregistered or one modality missing."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from crossmodalnet.errors import DataError
from crossmodalnet.metrics.scores import METRICS
from pipeline.comparison.scores import CASES, Methods, Runs, difference_of, read_cases, score
from pipeline.comparison.statements import Findings, Statement, write_tables
from pipeline.comparison.titles import short_title_of as title
from pipeline.config.sections import CompareConfig
from pipeline.evaluation.score_cases import ALONE, MEAN, MISREGISTRATION_FILE, VIEW_TITLES, View, read_misregistration

# Kept for pooling the folds of a cross-validation.
MISREGISTRATION_CASES, MODALITY_CASES = "misregistration_cases.csv", "modality_cases.csv"
COLUMNS = (
    "method", "view", "metric", "mean", "low", "high", "difference", "difference_low", "difference_high",
    "num_subjects", "num_seeds",
)  # fmt: skip
TABLE, STATEMENTS = "modalities.csv", "modality_statements.json"
# In MM-WHS the MR shows another patient's heart, with other labels.
OTHER_HEART = "scored against the MR's own label, not against that of the CT"


class Conditions(NamedTuple):
    """Scores per case, with method and seed; a table is empty where nothing was measured.

    Other columns: those of misregistration.csv, and those of cases.csv with `view`.
    """

    misregistration: pd.DataFrame
    modalities: pd.DataFrame


NOTHING_MEASURED = Conditions(pd.DataFrame(), pd.DataFrame())


def read_conditions(runs: Runs) -> Conditions:
    """Read the scores of each method; single-stream methods have none."""
    misregistration = _tables(runs, Path(MISREGISTRATION_FILE), read_misregistration)
    modalities = [
        table.assign(view=view.value) for view in ALONE for table in _tables(runs, Path(view, CASES), read_cases)
    ]
    tables = (pd.concat(own, ignore_index=True) if own else pd.DataFrame() for own in (misregistration, modalities))
    conditions = Conditions(*tables)
    _check(conditions.misregistration, "moved_mm")
    _check(conditions.modalities, "view")
    return conditions


def read_kept(comparison: Path) -> Conditions:
    """Read the scores that a comparison kept."""
    misregistered, alone = comparison / MISREGISTRATION_CASES, comparison / MODALITY_CASES
    return Conditions(
        read_misregistration(misregistered) if misregistered.exists() else pd.DataFrame(),
        read_cases(alone) if alone.exists() else pd.DataFrame(),
    )


def write_kept(folder: Path, conditions: Conditions) -> None:
    """Write the non-empty tables into the folder of a comparison."""
    tables = {MISREGISTRATION_CASES: conditions.misregistration, MODALITY_CASES: conditions.modalities}
    write_tables(folder, {name: table for name, table in tables.items() if not table.empty})


def compare_modalities(methods: Methods, alone: pd.DataFrame, params: CompareConfig) -> Findings:
    """Compare the scores of each method from the pair and from either modality alone."""
    table = modality_table(methods, alone, params)
    dice = table[table["metric"] == METRICS[0].key]
    texts = [_statement(str(name), rows) for name, rows in dice.groupby("method", sort=False)]
    return Findings({TABLE: table}, STATEMENTS, texts)


def modality_table(methods: Methods, alone: pd.DataFrame, params: CompareConfig) -> pd.DataFrame:
    """Average every metric over structures, subjects and seeds, per method and view: `COLUMNS`.

    difference = view - pair in the metric's unit, with its paired 95 % interval; empty for the pair.
    """
    rows = []
    for method in dict.fromkeys(alone["method"]):
        own = alone[alone["method"] == method]
        views = {View.PAIR: methods[method], **{view: own[own["view"] == view] for view in ALONE}}
        for view, cases in views.items():
            for metric in METRICS:
                if (scores := score(cases, MEAN, metric.key, params)) is None:
                    continue
                *means, num_subjects, num_seeds = scores
                change = None
                if view is not View.PAIR:
                    change = difference_of([views[View.PAIR], cases], MEAN, metric.key, params)
                rows.append((
                    method, view.value, metric.key, *means, *(change or (None,) * 3), num_subjects, num_seeds,
                ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _tables(runs: Runs, file: Path, read: Callable[[Path], pd.DataFrame]) -> list[pd.DataFrame]:
    """Read a file of every run that has it; method and seed come first."""
    tables = []
    for method, folders in runs.items():
        paths = {seed: folder / file for seed, folder in folders.items()}
        missing = [path for path in paths.values() if not path.exists()]
        if missing and len(missing) < len(paths):
            raise DataError(f"{missing[0]} not found, but another seed of {method} has it: run `dvc repro evaluate`")
        for seed, path in paths.items() if not missing else ():
            table = read(path)
            tables.append(table.assign(method=method, seed=seed)[["method", "seed", *table.columns]])
    return tables


def _check(table: pd.DataFrame, condition: str) -> None:
    """Check that all runs were measured on the same pairs and conditions."""
    if table.empty:
        return
    measured = {
        run: set(rows[["pair", condition]].itertuples(index=False, name=None))
        for run, rows in table.groupby(["method", "seed"])
    }
    (first, expected), *others = measured.items()
    for (method, seed), own in others:
        if own != expected:
            raise DataError(
                f"{method}, seed {seed}: not measured at the {condition} and pairs of {first[0]}, seed {first[1]}: "
                "run `dvc repro evaluate evaluate-ablation`"
            )


def _statement(method: str, dice: pd.DataFrame) -> Statement:
    parts = [_part(View(row["view"]), row) for row in dice.to_dict("records")]
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
