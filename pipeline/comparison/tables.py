"""Format results as tables for plots, LaTeX, Markdown and the terminal."""

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.io.console import UNLIMITED_WIDTH, count
from crossmodalnet.metrics.scores import HEADLINE, METRIC, METRICS, Metric
from pipeline.comparison.titles import JADA, adapted_title_of, title_of
from pipeline.comparison.titles import short_title_of as title
from pipeline.config.variants import ATLAS
from pipeline.evaluation.score_cases import MEAN
from pipeline.runtime.paths import COMPARISON, REPORT
from pipeline.runtime.paths import METRICS as METRICS_FOLDER

TESTED = ("dice", "hd95_mm", "nsd")
# Columns and their suffixes in wide tables.
ENDS = {"mean": "", "low": "_low", "high": "_high"}
_ESCAPES = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def wide_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Lay out a row per method: all metrics with their intervals, then Dice per structure.

    Metrics have the columns `<metric>`, `<metric>_low`, `<metric>_high`, structures `dice_<structure>`.
    """
    methods = scores["method"].unique()
    means = scores[scores["structure"] == MEAN]
    counts = means.groupby("method")[["num_subjects", "num_seeds"]].max()
    dice = scores[scores["metric"] == "dice"].pivot(index="method", columns="structure", values="mean")
    dice = dice.reindex(columns=list(ABBREVIATIONS)).add_prefix("dice_")
    table = pd.concat([counts, _side_by_side(means, ["method"]), dice], axis=1).reindex(methods)
    groups = scores.groupby("method")["group"].first().reindex(methods)
    table.insert(0, "title", [title(method) for method in methods])
    table.insert(1, "group", groups)
    return table.rename_axis("method").reset_index()


def plot_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Pivot models and atlas for DVC, which cannot filter rows: a row per structure (or `mean`) and method title.

    Columns are `<metric>`, `<metric>_low`, `<metric>_high`.
    """
    bars = scores[scores["group"] != "ablation"]
    order = pd.MultiIndex.from_product([[*ABBREVIATIONS, MEAN], bars["method"].unique()], names=["structure", "method"])
    table = _side_by_side(bars, ["structure", "method"]).reindex(order).dropna(how="all").reset_index()
    return table.assign(method=[title(method) for method in table["method"]])


def latex_table(table: pd.DataFrame, folds: int = 1) -> str:
    r"""Format the wide table in LaTeX; the document needs `\usepackage{booktabs}`.

    The best models are bold, ties included; ablations stand below a line and do not compete.
    """
    structures = [replace(METRIC["dice"], key=f"dice_{name}", title=name) for name in ABBREVIATIONS]
    lines = [
        r"\begin{table*}", r"\centering", rf"\caption{{{_caption(table, folds)}}}", r"\label{tab:comparison}",
        r"\footnotesize", r"\setlength{\tabcolsep}{4pt}",
        *_block(table, METRICS, intervals=True),
        r"\par\medskip",
        *_block(table, structures, intervals=False),
        r"\end{table*}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Escape text for LaTeX."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def markdown_tables(top: Path = Path()) -> str:
    """Format the comparison, its tests, and any adaptation as Markdown."""
    folder = top / COMPARISON
    if not (folder / "table.csv").is_file():
        raise DataError(f"{folder / 'table.csv'} not found: run `dvc repro`")
    tables = [_markdown_means(pd.read_csv(folder / "table.csv")), _markdown_tests(pd.read_csv(folder / "pairwise.csv"))]
    if (folder / "adaptation.csv").is_file():
        tables += _markdown_adaptation(folder)
    return "\n\n".join(table for table in tables if table)


def print_summary(console: Console, top: Path = Path()) -> None:
    """Print the mean results of every method, and the path of the report."""
    path = top / COMPARISON / "scores.csv"
    if not path.is_file():
        raise DataError(f"{path} not found: run `dvc repro`")
    scores = pd.read_csv(path)
    scores = scores[scores["structure"] == MEAN]
    table = Table(title="Means over the test pairs", title_justify="left", show_edge=False)
    table.add_column("", no_wrap=True)
    headings = [_heading(METRIC[key]) for key in HEADLINE]
    for heading in (f"{headings[0]} [95 % interval]", *headings[1:], "missed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in sorted(scores["method"].unique(), key=lambda name: (name == ATLAS, "-" in name)):
        table.add_row(title_of(name), *_cells(scores[scores["method"] == name]), _missed(name, top))
    needed = console.measure(table, options=console.options.update(width=UNLIMITED_WIDTH)).maximum
    if needed <= console.width:
        console.print(table)
    else:  # a narrow terminal would cut numbers off
        _print_below_each_other(console, table)
    # Not resolved: the page may be a link into a cache, to a file without suffix.
    report = (top / REPORT / "index.html").absolute()
    text = f"Report: {report}" if report.is_file() else f"{report} is missing: run `dvc repro`"
    console.print(Text(text), soft_wrap=True)


def _side_by_side(scores: pd.DataFrame, index: list[str]) -> pd.DataFrame:
    """Pivot metrics and their intervals into columns, a row per `index`."""
    wide = scores.pivot(index=index, columns="metric", values=list(ENDS))
    columns = {
        f"{metric.key}{suffix}": wide.get((value, metric.key), default=float("nan"))
        for metric in METRICS
        for value, suffix in ENDS.items()
    }
    return pd.DataFrame(columns, index=wide.index)


def _caption(table: pd.DataFrame, folds: int) -> str:
    seeds = table[table["group"] != "atlas"]["num_seeds"].max()
    trained = f"each network trained with {count(int(seeds), 'seed')}" if seeds == seeds else ""
    parts = [count(int(table["num_subjects"].max()), "test pair"), *([trained] if trained else [])]
    if folds > 1:
        parts.append(f"test pairs of {folds} folds pooled")
    return (
        f"Means over {'; '.join(parts)}. Above: the means over structures, with 95\\,\\% bootstrap intervals over "
        "subjects and seeds in brackets. Below: Dice per structure. Best model in bold"
        + ("; ablations, below the line, do not compete." if (table["group"] == "ablation").any() else ".")
    )


def _block(table: pd.DataFrame, columns: Sequence[Metric], *, intervals: bool) -> list[str]:
    competing = table["group"] != "ablation"
    best = {column.key: _best(table[competing][column.key], column) for column in columns}
    lines = [rf"\begin{{tabular}}{{l{'c' * len(columns)}}}", r"\toprule"]
    lines += [" & ".join(["Method", *map(_latex_heading, columns)]) + r" \\", r"\midrule"]
    for number, row in enumerate(table.to_dict("records")):
        if number and not competing.iloc[number] and competing.iloc[number - 1]:
            lines.append(r"\midrule")
        texts = {column.key: _print(row[column.key], column) for column in columns}
        cells = [
            rf"\textbf{{{text}}}" if competing.iloc[number] and text == best[key] else text
            for key, text in texts.items()
        ]
        lines.append(" & ".join([escape(row["title"]), *cells]) + r" \\")
        if intervals:
            lines.append(" & ".join(["", *(_latex_interval(row, column) for column in columns)]) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _latex_heading(column: Metric) -> str:
    arrow = r"$\uparrow$" if column.higher_is_better else r"$\downarrow$"
    return f"{escape(column.title)}{f' ({column.unit})' if column.unit else ''} {arrow}"


def _best(values: "pd.Series[float]", column: Metric) -> str:
    defined = values.dropna()
    if len(defined) < 2:
        return ""
    return _print(defined.max() if column.higher_is_better else defined.min(), column)


def _latex_interval(row: dict[Hashable, Any], column: Metric) -> str:
    low, high = (_print(row[f"{column.key}_{end}"], column) for end in ("low", "high"))
    return "" if "--" in (low, high) else rf"{{\tiny [{low}, {high}]}}"


def _print(value: object, column: Metric) -> str:
    return f"{value:.{column.digits}f}" if isinstance(value, float) and value == value else "--"


def _markdown_means(table: pd.DataFrame) -> str:
    """Format means with 95 % intervals, a row per method."""
    metrics = [metric for metric in METRICS if metric.key in table.columns]
    ordered = table.sort_values(["group", "dice"], ascending=[False, False], kind="stable")
    rows = (
        [
            str(row["title"]),
            *(_mean_and_interval(m, (row[f"{m.key}{suffix}"] for suffix in ENDS.values())) for m in metrics),
        ]
        for row in ordered.to_dict("records")
    )
    return _markdown(["method", *map(_heading, metrics)], rows)


def _markdown_tests(tests: pd.DataFrame) -> str:
    """Format differences to the first method: intervals and Holm's p."""
    if tests.empty:
        return ""
    own = tests["method_a"].iloc[0]
    tests = tests[tests["method_a"] == own]
    heading = [f"{title_of(own)} minus", *(_heading(METRIC[key]) for key in TESTED)]
    rows = []
    for other in tests["method_b"].unique():
        of_other = tests[tests["method_b"] == other].set_index("metric").to_dict("index")
        cells = [_tested(METRIC[key], of_other[key]) if key in of_other else "" for key in TESTED]
        rows.append([title_of(other), *cells])
    return _markdown(heading, rows)


def _markdown_adaptation(folder: Path) -> list[str]:
    """Format the means on the target with the gap share, and Dice per structure."""
    scores, gap = pd.read_csv(folder / "adaptation.csv"), pd.read_csv(folder / "gap.csv")
    seeds = pd.read_csv(folder / "gap_seeds.csv")
    shares = gap[gap["structure"] == MEAN].set_index("method")
    by_seed = seeds[seeds["structure"] == MEAN]
    rows = scores.set_index(["method", "domain", "structure", "metric"])[list(ENDS)].to_dict("index")

    def cell(method: str, domain: str, structure: str, metric: str, interval: bool = False) -> str:
        row = rows.get((method, domain, structure, metric))
        if row is None:
            return ""
        if interval:
            return _mean_and_interval(METRIC[metric], row.values())
        return f"{row['mean']:.{METRIC[metric].digits}f}"

    means, structures = [], []
    for method in scores["method"].unique():
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
    return [_markdown(heading, means), _markdown(["target Dice", *ABBREVIATIONS], structures)]


def _markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _heading(metric: Metric) -> str:
    if metric.key == "iou":
        return "MIoU"  # the usual name of its mean over structures and cases
    return f"{metric.title}, {metric.unit}" if metric.unit else metric.title


def _mean_and_interval(metric: Metric, values: Iterable[float]) -> str:
    mean, low, high = (f"{value:.{metric.digits}f}" for value in values)
    return f"{mean} [{low}, {high}]"


def _tested(metric: Metric, row: Mapping[Hashable, Any]) -> str:
    digits = max(metric.digits, 2)
    difference, low, high = (f"{row[name]:+.{digits}f}" for name in ("difference", "low", "high"))
    verdict = "" if row["verdict"] == "supported" else f", {str(row['verdict']).replace('_', ' ')}"
    p = "p < 0.001" if row["p_holm"] < 0.001 else f"p = {row['p_holm']:.3f}"
    return f"{difference} [{low}, {high}], {p}{verdict}"


def _print_below_each_other(console: Console, table: Table) -> None:
    """Print each row as lines of heading and value."""
    headings = [str(column.header) for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    console.print(str(table.title))
    for name, *values in rows:
        console.print(Text(str(name)), soft_wrap=True)
        for heading, value in zip(headings[1:], values, strict=True):
            short = heading.partition(" [")[0]
            console.print(Text(f"  {short}  ").append_text(Text.from_markup(str(value))), soft_wrap=True)


def _cells(scores: pd.DataFrame) -> list[str]:
    rows = scores.set_index("metric")[list(ENDS)].astype(float).reindex(HEADLINE)
    dice, low, high = rows.loc["dice"]
    others = [f"{rows['mean'][key]:.{METRIC[key].digits}f}" for key in HEADLINE[1:]]
    return [f"{dice:.3f} \\[{low:.3f}, {high:.3f}]", *others]


def _missed(name: str, top: Path) -> str:
    """Count the missed structures over all seeds."""
    folder = top / METRICS_FOLDER / name
    files = [folder.with_suffix(".json")] if name == ATLAS else sorted(folder.glob("seed*.json"))
    return str(sum(int(json.loads(file.read_text("utf-8"))["missed"]) for file in files))
