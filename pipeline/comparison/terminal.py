"""The results in a few lines, for the end of `make repro`."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.comparison.titles import TITLES
from pipeline.config.variants import ATLAS
from pipeline.evaluation.tables import MEAN
from pipeline.runtime.console import UNLIMITED_WIDTH
from pipeline.runtime.errors import DataError
from pipeline.runtime.paths import COMPARISON, METRICS, REPORT

SCORES = "scores.csv"


def print_summary(console: Console, top: Path = Path()) -> None:
    """Print the mean results of every method, and where the report is.

    Args:
        console: console to print on.
        top: folder that `pipeline.runtime.paths` are relative to.

    Raises:
        DataError: nothing has been compared yet.
    """
    path = top / COMPARISON / SCORES
    if not path.is_file():
        raise DataError(f"{path} not found: run `dvc repro`")
    scores = pd.read_csv(path)
    scores = scores[scores["structure"] == MEAN]
    table = Table(title="Means over the test pairs", title_justify="left", show_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("Dice [95 % interval]", "MIoU", "HD95, mm", "NSD", "missed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in _ordered(scores["method"].unique().tolist()):
        table.add_row(TITLES.get(name, name), *_cells(scores[scores["method"] == name]), _missed(name, top))
    needed = console.measure(table, options=console.options.update(width=UNLIMITED_WIDTH)).maximum
    if needed <= console.width:
        console.print(table)
    else:  # a narrow terminal would cut numbers off
        _print_below_each_other(console, table)
    # Not resolved: with a cache of links the page is one, and its file has no name that a browser knows.
    report = (top / REPORT / "index.html").absolute()
    console.print(
        Text(f"Report: {report}" if report.is_file() else f"{report} is missing: run `dvc repro`"),
        soft_wrap=True,
    )


def _print_below_each_other(console: Console, table: Table) -> None:
    """Print a row of the table as lines of a heading and a value each."""
    headings = [str(column.header) for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    console.print(str(table.title))
    for name, *values in rows:
        console.print(Text(str(name)), soft_wrap=True)
        for heading, value in zip(headings[1:], values, strict=True):
            short = heading.partition(" [")[0]
            console.print(Text(f"  {short}  ").append_text(Text.from_markup(str(value))), soft_wrap=True)


def _ordered(names: Sequence[str]) -> list[str]:
    """The models, then the ablations, then the atlas; each group as it was written."""
    return sorted(names, key=lambda name: (name == ATLAS, "-" in name))


def _cells(scores: pd.DataFrame) -> list[str]:
    rows = scores.set_index("metric")[["mean", "low", "high"]].astype(float)
    means = rows["mean"].reindex(["iou", "hd95_mm", "nsd"])
    dice, low, high = rows.loc["dice"] if "dice" in rows.index else (float("nan"),) * 3
    return [
        f"{dice:.3f} \\[{low:.3f}, {high:.3f}]",
        *(f"{mean:.{digits}f}" for mean, digits in zip(means, (3, 1, 3), strict=True)),
    ]


def _missed(name: str, top: Path) -> str:
    """Count the structures missed, over all seeds."""
    folder = top / METRICS / name
    files = [folder.with_suffix(".json")] if name == ATLAS else sorted(folder.glob("seed*.json"))
    return str(sum(int(json.loads(file.read_text("utf-8"))["missed"]) for file in files))
