"""Results as Markdown tables, so that a document's figures are printed from a run and not typed."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodalnet.imaging.structures import ABBREVIATIONS
from pipeline.comparison.titles import JADA, METRICS, TITLES, adapted_title_of
from pipeline.evaluation.tables import MEAN
from pipeline.runtime.errors import DataError
from pipeline.runtime.paths import COMPARISON

BY_KEY = {metric.key: metric for metric in METRICS}
TESTED = ("dice", "hd95_mm", "nsd")


def markdown_tables(top: Path = Path()) -> str:
    """Write the comparison, its tests, and the adaptation where there is one, as tables for a document.

    Args:
        top: folder that `pipeline.runtime.paths` are relative to.

    Raises:
        DataError: nothing has been compared yet.
    """
    folder = top / COMPARISON
    if not (folder / "table.csv").is_file():
        raise DataError(f"{folder / 'table.csv'} not found: run `dvc repro`")
    tables = [_means(pd.read_csv(folder / "table.csv")), _differences(pd.read_csv(folder / "pairwise.csv"))]
    if (folder / "adaptation.csv").is_file():
        tables += _adaptation(folder)
    return "\n\n".join(table for table in tables if table)


def _means(table: pd.DataFrame) -> str:
    """A row per method: means with their 95 % intervals."""
    metrics = [metric for metric in METRICS if metric.key in table.columns]
    heading = ["method", *(_heading(metric.key) for metric in metrics)]
    ordered = table.sort_values(["group", "dice"], ascending=[False, False], kind="stable")
    rows = (
        [str(row["title"]), *(_interval(metric.key, row, metric.key) for metric in metrics)]
        for _, row in ordered.iterrows()
    )
    return _table(heading, rows)


def _differences(tests: pd.DataFrame) -> str:
    """A row per method that the first one is compared with: differences, intervals, Holm's p."""
    if tests.empty:
        return ""
    own = tests["method_a"].iloc[0]
    tests = tests[tests["method_a"] == own]
    heading = [f"{TITLES.get(own, own)} minus", *(_heading(key) for key in TESTED)]
    rows = []
    for other in tests["method_b"].unique():
        of_other = tests[tests["method_b"] == other].set_index("metric")
        cells = [_tested(key, of_other.loc[key]) if key in of_other.index else "" for key in TESTED]
        rows.append([TITLES.get(other, other), *cells])
    return _table(heading, rows)


def _adaptation(folder: Path) -> list[str]:
    """The target's means with the share of the gap, and its Dice per structure."""
    scores, gap = pd.read_csv(folder / "adaptation.csv"), pd.read_csv(folder / "gap.csv")
    seeds = pd.read_csv(folder / "gap_seeds.csv")
    shares = gap[gap["structure"] == MEAN].set_index("method")
    by_seed = seeds[seeds["structure"] == MEAN]
    methods = list(dict.fromkeys(scores["method"]))
    keys = ["method", "domain", "structure", "metric"]
    found = {tuple(map(str, row[keys])): row for _, row in scores.iterrows()}

    def cell(method: str, domain: str, structure: str, metric: str, interval: bool = False) -> str:
        row = found.get((method, domain, structure, metric))
        if row is None:
            return ""
        return _interval(metric, row) if interval else f"{row['mean']:.{BY_KEY[metric].digits}f}"

    means, structures = [], []
    for method in methods:
        share, of_seeds = "", ""
        if method in shares.index:
            row = shares.loc[method]
            share = f"{row['share']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"
            of_seeds = ", ".join(f"{dice:.3f}" for dice in by_seed[by_seed["method"] == method]["dice"])
        means.append([
            adapted_title_of(method), cell(method, "target", MEAN, "dice", True), of_seeds, share,
            cell(method, "target", MEAN, "hd95_mm"), cell(method, "source", MEAN, "dice"),
        ])  # fmt: skip
        per_structure = [cell(method, "target", name, "dice") for name in ABBREVIATIONS]
        structures.append([adapted_title_of(method), *per_structure])
    heading = [JADA, "target Dice", "seeds", "share of the gap", "target HD95, mm", "source Dice"]
    return [_table(heading, means), _table(["target Dice", *ABBREVIATIONS], structures)]


def _heading(key: str) -> str:
    if key == "iou":
        return "MIoU"  # as its mean over structures and cases is known
    metric = BY_KEY[key]
    return f"{metric.title}, {metric.unit}" if metric.unit else metric.title


def _interval(key: str, row: "pd.Series[Any]", column: str = "") -> str:
    names = (column, f"{column}_low", f"{column}_high") if column else ("mean", "low", "high")
    mean, low, high = (f"{row[name]:.{BY_KEY[key].digits}f}" for name in names)
    return f"{mean} [{low}, {high}]"


def _tested(key: str, row: "pd.Series[Any]") -> str:
    digits = max(BY_KEY[key].digits, 2)
    values = (f"{row[name]:+.{digits}f}" for name in ("difference", "low", "high"))
    verdict = "" if row["verdict"] == "supported" else f", {str(row['verdict']).replace('_', ' ')}"
    p = "p < 0.001" if row["p_holm"] < 0.001 else f"p = {row['p_holm']:.3f}"
    return "{} [{}, {}], {}{}".format(*values, p, verdict)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
