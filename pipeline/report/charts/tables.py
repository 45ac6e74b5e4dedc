"""Tables as rows of printed cells: numbers formatted, best ones marked, undefined ones a dash."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from crossmodalnet.metrics.scores import METRICS, Metric
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Estimate, Result

DASH = "–"

# Headings and formats of the columns that other stages write; any other column is shown under its own name.
HEADINGS = {
    "pair": "Pair",
    "role": "Role",
    "attempts": "Attempts",
    "initialisation": "Initialisation",
    "mi_before": "MI before",
    "mi_after": "MI after",
    "label_dice": "Label Dice",
    "negative_jacobian_share": "Folded voxels",
    "largest_displacement_mm": "Largest displacement, mm",
    "inverse_error_mm": "Inverse error, mm",
    "shared_view": "Shared view",
    "seconds": "Time, s",
    "warning": "Warning",
    "box_mm": "Box, mm",
    "overflow_mm": "Overflow, mm",
    "method": "Method",
    "task": "Task",
    "dice": "Dice",
    "hd_mm": "HD, mm",
    "asd_mm": "ASD, mm",
    "source": "Source",
}
FORMATS = {
    "mi_before": ".3f",
    "mi_after": ".3f",
    "label_dice": ".3f",
    "negative_jacobian_share": ".2%",
    "largest_displacement_mm": ".1f",
    "inverse_error_mm": ".2f",
    "shared_view": ".0%",
    "seconds": ".0f",
    "dice": ".3f",
    "hd_mm": ".1f",
    "asd_mm": ".2f",
}


@dataclass(frozen=True)
class Cell:
    """A value as printed, its interval, and whether it is the best of its group."""

    text: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Headings, which columns are numbers (set to the right), and rows of printed cells."""

    headings: Sequence[str]
    numeric: Sequence[bool]
    rows: Sequence[Sequence[str]]


def format_value(value: float | None, metric: Metric) -> str:
    """Print with the metric's decimals, without the unit."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.{metric.digits}f}"


def format_interval(estimate: Estimate, metric: Metric) -> str:
    """Print `low to high`, or nothing where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{format_value(estimate.low, metric)} to {format_value(estimate.high, metric)}"


def metric_cells(results: Sequence[Result], structure: str) -> dict[str, list[Cell]]:
    """Print every metric of one structure for every method.

    Returns:
        Cells by method name, one per metric; what is best as printed is marked (all of several equal ones,
        none where there is one method only).
    """
    columns = [_column(results, metric, structure) for metric in METRICS]
    return {result.name: [column[number] for column in columns] for number, result in enumerate(results)}


def case_table(artefacts: Artefacts) -> Table:
    """Print mean Dice and mean HD95 of every test case and method."""
    shown = [metric for metric in METRICS if metric.key in ("dice", "hd95_mm")]
    headings = ["Pair"]
    columns: list[pd.Series] = []
    printers: list[Metric] = []
    for metric in shown:
        for result in artefacts.results:
            headings.append(f"{metric.title}{', mm' if metric.unit else ''}: {result.short_title}")
            printers.append(metric)
            columns.append(result.cases.groupby("pair")[metric.key].mean())
    rows = [
        [pair, *(format_value(float(c[pair]), metric) for c, metric in zip(columns, printers, strict=True))]
        for pair in sorted(artefacts.cases)
    ]
    return Table(headings, [False, *(True for _ in columns)], rows)


def frame_table(frame: pd.DataFrame) -> Table:
    """Print a data frame; missing values are dashes."""
    columns = [str(column) for column in frame.columns]
    numeric = [bool(pd.api.types.is_numeric_dtype(frame[column])) for column in frame.columns]
    rows = [[_print(value, FORMATS.get(c, "")) for c, value in zip(columns, row, strict=True)]
            for row in frame.itertuples(index=False)]  # fmt: skip
    return Table([heading(column) for column in columns], numeric, rows)


def heading(column: str) -> str:
    """Name a column for print."""
    return HEADINGS.get(column, column.replace("_mm", ", mm").replace("_", " ").strip())


def enumerate_words(words: Sequence[str]) -> str:
    """Join as `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def flatten(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """List a nested mapping as dotted keys and printed values; short lists stay in one line."""
    entries: list[tuple[str, str]] = []
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            entries += flatten(value, f"{name}.")
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value):
                entries += flatten(item if isinstance(item, Mapping) else {"": item}, f"{name}[{number}].")
        else:
            entries.append((name, _plain(value)))
    return entries


def total_cut_voxels(crop: pd.DataFrame) -> int:
    """Count the labelled voxels that cropping cut off, over all pairs and structures."""
    counts = [
        column for column in crop.columns
        if "cut" in str(column) and pd.api.types.is_integer_dtype(crop[column]) and "total" not in str(column)
    ]  # fmt: skip
    return int(crop[counts].to_numpy().sum())


def _column(results: Sequence[Result], metric: Metric, structure: str) -> list[Cell]:
    estimates = [result.estimates.get((metric.key, structure)) for result in results]
    texts = [format_value(estimate.mean if estimate else None, metric) for estimate in estimates]
    printed = [float(text) for text in texts if text != DASH]
    best = (max if metric.higher_is_better else min)(printed) if len(printed) > 1 else None
    return [
        Cell(
            text, format_interval(estimate, metric) if estimate else "", text != DASH and float(text) == best
        )
        for text, estimate in zip(texts, estimates, strict=True)
    ]


def _print(value: Any, form: str) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return DASH
    if form and isinstance(value, int | float):
        return format(value, form)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> str:
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        return ", ".join(_plain(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else DASH if value in (None, {}) else str(value)
