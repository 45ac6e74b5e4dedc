"""Results as tables: CSV, LaTeX, Markdown and on the terminal."""

import json
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.io.console import UNLIMITED_WIDTH
from pipeline.comparison.titles import JADA, METRICS, TITLES, Metric, adapted_title_of
from pipeline.comparison.titles import short_title_of as title
from pipeline.config.variants import ATLAS
from pipeline.evaluation.score_cases import MEAN
from pipeline.runtime.paths import COMPARISON, REPORT
from pipeline.runtime.paths import METRICS as METRICS_FOLDER

_ESCAPES = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def wide_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Lay out a row per method: the means of all metrics with their intervals, then Dice per structure.

    Args:
        scores: `scores.COLUMNS`.

    Returns:
        method, title, group, num_subjects, num_seeds, then `<metric>`, `<metric>_low` and `<metric>_high` of each
        metric, and `dice_<structure>`.
    """
    rows = []
    for method, own in scores.groupby("method", sort=False):
        values = own.set_index(["metric", "structure"])[["mean", "low", "high"]].to_dict("index")
        row: dict[str, object] = {
            "method": method,
            "title": title(str(method)),
            "group": own["group"].iloc[0],
        }
        row |= {count: own[own["structure"] == MEAN][count].max() for count in ("num_subjects", "num_seeds")}
        for metric in METRICS:
            found = values.get((metric.key, MEAN), {})
            row |= {metric.key: found.get("mean")}
            row |= {f"{metric.key}_{end}": found.get(end) for end in ("low", "high")}
        row |= {f"dice_{name}": values.get(("dice", name), {}).get("mean") for name in ABBREVIATIONS}
        rows.append(row)
    return pd.DataFrame(rows).astype({metric.key: float for metric in METRICS})


def bar_table(scores: pd.DataFrame) -> pd.DataFrame:
    """List the bars of models and atlas: structure (or `mean`), method, metric, mean, low, high."""
    shown = scores[scores["group"] != "ablation"]
    return shown[["structure", "method", "metric", "mean", "low", "high"]].reset_index(drop=True)


def plot_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Lay out the same bars for DVC, which cannot pick rows of a file, only columns.

    Returns:
        structure, method (its title), then `<metric>`, `<metric>_low`, `<metric>_high` for each metric.
    """
    bars = bar_table(scores)
    rows = []
    for (structure, method), own in bars.groupby(["structure", "method"], sort=False):
        row: dict[str, object] = {"structure": structure, "method": title(str(method))}
        for metric, mean, low, high in own[["metric", "mean", "low", "high"]].itertuples(index=False):
            row |= {metric: mean, f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)
    columns = [f"{metric.key}{end}" for metric in METRICS for end in ("", "_low", "_high")]
    # Grouped by structure, in the order of `ABBREVIATIONS`, methods within: the order of the bars.
    order = {name: place for place, name in enumerate((*ABBREVIATIONS, MEAN))}
    table = pd.DataFrame(rows, columns=["structure", "method", *columns])
    return table.sort_values(
        "structure", key=lambda names: names.map(order), kind="stable", ignore_index=True
    )


def latex_table(table: pd.DataFrame, folds: int = 1) -> str:
    r"""Set the wide table in LaTeX; the document needs `\usepackage{booktabs}`.

    Two blocks of rows: the means of all metrics with their intervals beneath, and Dice per structure. The best models
    are bold (as printed: all of several equal ones); ablations stand below a line and do not compete.

    Args:
        table: table of `wide_table`.
        folds: folds of a cross-validation whose test pairs are pooled.
    """
    structures = [Metric(f"dice_{name}", name, "", METRICS[0].digits, True) for name in ABBREVIATIONS]
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
    """Make text safe in LaTeX."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def _caption(table: pd.DataFrame, folds: int) -> str:
    seeds = table[table["group"] != "atlas"]["num_seeds"].max()
    trained = f"each network trained with {seeds:g} seed{'' if seeds == 1 else 's'}" if seeds == seeds else ""
    parts = [f"{table['num_subjects'].max():g} test pairs", *([trained] if trained else [])]
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
    lines += [" & ".join(["Method", *(_heading(column) for column in columns)]) + r" \\", r"\midrule"]
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
            lines.append(" & ".join(["", *(_interval(row, column) for column in columns)]) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _heading(column: Metric) -> str:
    arrow = r"$\uparrow$" if column.higher_is_better else r"$\downarrow$"
    return f"{escape(column.title)}{f' ({column.unit})' if column.unit else ''} {arrow}"


def _best(values: "pd.Series[float]", column: Metric) -> str:
    defined = values.dropna()
    if len(defined) < 2:
        return ""
    return _print(defined.max() if column.higher_is_better else defined.min(), column)


def _interval(row: dict[Hashable, Any], column: Metric) -> str:
    low, high = (_print(row[f"{column.key}_{end}"], column) for end in ("low", "high"))
    return "" if "--" in (low, high) else rf"{{\tiny [{low}, {high}]}}"


def _print(value: object, column: Metric) -> str:
    return f"{value:.{column.digits}f}" if isinstance(value, float) and value == value else "--"


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
    heading = ["method", *(_markdown_heading(metric.key) for metric in metrics)]
    ordered = table.sort_values(["group", "dice"], ascending=[False, False], kind="stable")
    rows = (
        [str(row["title"]), *(_markdown_interval(metric.key, row, metric.key) for metric in metrics)]
        for _, row in ordered.iterrows()
    )
    return _table(heading, rows)


def _differences(tests: pd.DataFrame) -> str:
    """A row per method that the first one is compared with: differences, intervals, Holm's p."""
    if tests.empty:
        return ""
    own = tests["method_a"].iloc[0]
    tests = tests[tests["method_a"] == own]
    heading = [f"{TITLES.get(own, own)} minus", *(_markdown_heading(key) for key in TESTED)]
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
        return _markdown_interval(metric, row) if interval else f"{row['mean']:.{BY_KEY[metric].digits}f}"

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


def _markdown_heading(key: str) -> str:
    if key == "iou":
        return "MIoU"  # as its mean over structures and cases is known
    metric = BY_KEY[key]
    return f"{metric.title}, {metric.unit}" if metric.unit else metric.title


def _markdown_interval(key: str, row: "pd.Series[Any]", column: str = "") -> str:
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
    folder = top / METRICS_FOLDER / name
    files = [folder.with_suffix(".json")] if name == ATLAS else sorted(folder.glob("seed*.json"))
    return str(sum(int(json.loads(file.read_text("utf-8"))["missed"]) for file in files))
