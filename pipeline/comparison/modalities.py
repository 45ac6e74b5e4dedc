"""How good methods are from one modality alone, beside what they make of the pair."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.comparison.methods import Methods
from pipeline.comparison.resampling import interval, paired_values, resampled_means
from pipeline.comparison.scores import score
from pipeline.comparison.statements import Statement
from pipeline.comparison.titles import METRICS
from pipeline.comparison.titles import short_title_of as title
from pipeline.config.sections import CompareConfig
from pipeline.evaluation.tables import MEAN
from pipeline.evaluation.views import ALONE, VIEW_TITLES, View

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
