"""The results in a few lines, for the end of `make repro`."""

import json
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.errors import DataError
from pipeline.paths import EVALUATION, METRICS, REPORT
from pipeline.report.records import ATLAS, TITLES


def print_summary(console: Console, top: Path = Path()) -> None:
    """Print the mean results of every model and of the atlas baseline, and where the report is.

    Args:
        console: to print on.
        top: folder that `pipeline.paths` are relative to.

    Raises:
        DataError: nothing has been evaluated yet.
    """
    names = sorted(
        (file.stem for file in (top / METRICS).glob("*.json")), key=lambda name: (name == ATLAS, name)
    )
    if not names:
        raise DataError(f"{top / METRICS} holds no metrics: run `dvc repro`")
    table = Table(title="Means over the test pairs", title_justify="left", show_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("Dice [95 % interval]", "MIoU", "HD95, mm", "NSD", "missed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in names:
        table.add_row(TITLES.get(name, name), *_cells(name, top))
    console.print(table)
    report = (top / REPORT / "index.html").resolve()
    console.print(
        Text(f"Report: {report}" if report.is_file() else f"{report} is missing: run `dvc repro`"),
        soft_wrap=True,
    )


def _cells(name: str, top: Path) -> list[str]:
    content = json.loads((top / METRICS / f"{name}.json").read_text())
    mean = {key: value.get("mean", float("nan")) for key, value in content.items() if isinstance(value, dict)}
    dice = f"{mean['dice']:.3f}{_interval(top / EVALUATION / name / 'intervals.csv')}"
    return [
        dice,
        f"{mean['miou']:.3f}",
        f"{mean['hd95_mm']:.1f}",
        f"{mean['nsd']:.3f}",
        str(content["n_missed"]),
    ]


def _interval(path: Path) -> str:
    if not path.is_file():
        return ""
    table = pd.read_csv(path)
    row = table[(table["metric"] == "dice") & (table["structure"] == "mean")]
    return "" if row.empty else f" \\[{row['low'].iloc[0]:.3f}, {row['high'].iloc[0]:.3f}]"
