"""Print numbers, intervals and tables; what is undefined is a dash."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from crossmodalnet.metrics.scores import METRICS, Metric
from pipeline.report.artefacts import Artefacts

DASH, MINUS = "–", "−"
# The paper's measures, as their means over the structures are called.
MEAN_TITLES = {"dice": "Dice", "iou": "MIoU", "hd95_mm": "HD95"}
# Headings and formats of the columns that other stages write; any other column is shown under its own name.
COLUMNS = {
    "mi_before": ("MI before", ".3f"),
    "mi_after": ("MI after", ".3f"),
    "label_dice": ("Label Dice", ".3f"),
    "dice": ("Dice", ".3f"),
    "negative_jacobian_share": ("Folded voxels", ".2%"),
    "inverse_error_mm": ("Inverse error, mm", ".2f"),
    "largest_displacement_mm": ("Largest shift, mm", ".1f"),
    "initialisation": ("Start", ""),
    "shared_view": ("Shared view", ".0%"),
    "seconds": ("Time, s", ".0f"),
    "hd_mm": ("HD, mm", ".1f"),
    "asd_mm": ("ASD, mm", ".2f"),
}


class Table(NamedTuple):
    """A table in print; columns of numbers are set to the right."""

    headings: Sequence[str]
    numeric: Sequence[bool]
    rows: Sequence[Sequence[str]]


class Cell(NamedTuple):
    """A mean in print, its interval, and whether it is the best of its column."""

    text: str
    interval: str
    best: bool


def make_table(rows: Sequence[Mapping[str, str]], text: Sequence[str] = ()) -> Table:
    """Make a table of rows by heading; the first column and those in `text` are words, the others numbers."""
    headings = list(rows[0])
    numeric = [place > 0 and heading not in text for place, heading in enumerate(headings)]
    return Table(headings, numeric, [list(row.values()) for row in rows])


def frame_table(frame: pd.DataFrame) -> Table:
    """Print a table that another stage wrote."""
    numeric = [bool(pd.api.types.is_numeric_dtype(frame[column])) for column in frame]
    looks = [COLUMNS.get(str(column), (_heading(str(column)), "g")) for column in frame]
    rows = [
        [_print(value, form) for value, (_, form) in zip(row, looks, strict=True)]
        for row in frame.itertuples(index=False)
    ]
    return Table([heading for heading, _ in looks], numeric, rows)


def _heading(column: str) -> str:
    words = column.replace("_mm", ", mm").replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _print(value: Any, form: str) -> str:
    if isinstance(value, int | float):
        return format(value, form) if math.isfinite(value) else DASH
    return DASH if value is None else str(value)


def metric_title(metric: Metric, titles: Mapping[str, str] = MEAN_TITLES) -> str:
    """Name a metric with its unit, by default as the mean over the structures is called."""
    title = titles.get(metric.key, metric.title)
    return f"{title}, {metric.unit}" if metric.unit else title


def number(value: float, digits: int) -> str:
    """Print with so many decimals."""
    return f"{value:.{digits}f}" if math.isfinite(value) else DASH


def signed(value: float, digits: int) -> str:
    """Print with a sign; a minus is a minus sign, and zero is never negative."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", MINUS) if math.isfinite(value) else DASH


def interval(low: float, high: float, digits: int, *, sign: bool = False) -> str:
    """Print `low to high`, or a dash where there is no interval."""
    form = signed if sign else number
    known = math.isfinite(low) and math.isfinite(high)
    return f"{form(low, digits)} to {form(high, digits)}" if known else DASH


def score_cells(artefacts: Artefacts, structure: str) -> dict[str, list[Cell]]:
    """Print every metric of a structure (or `mean`) by method; of several, all that print as the best are marked."""
    rows: dict[str, list[Cell]] = {name: [] for name in artefacts.methods}
    for metric in METRICS:
        scores = {name: artefacts.score(name, metric.key, structure) for name in rows}
        texts = {name: number(mean, metric.digits) for name, (mean, _, _) in scores.items()}
        values = [float(text) for text in texts.values() if text != DASH]
        best = (max if metric.higher_is_better else min)(values) if len(values) > 1 else math.nan
        for name, (_, low, high) in scores.items():
            ends = interval(low, high, metric.digits).strip(DASH)
            rows[name].append(Cell(texts[name], ends, texts[name] == number(best, metric.digits) != DASH))
    return rows


def enumerate_words(words: Sequence[str]) -> str:
    """Join as `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def flatten(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List a nested mapping as dotted keys and printed values; lists stay in one line."""
    (flat,) = pd.json_normalize(dict(content)).to_dict("records")
    return [(str(key), _plain(value)) for key, value in flat.items()]


def _plain(value: Any) -> str:
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        return ", ".join(_plain(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else DASH if value in (None, {}) else str(value)
