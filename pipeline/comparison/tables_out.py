"""The scores laid out for others: a wide table, LaTeX, and bars for plots."""

from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from crossmodalnet.imaging.structures import ABBREVIATIONS
from pipeline.comparison.titles import METRICS, Metric
from pipeline.comparison.titles import short_title_of as title
from pipeline.evaluation.tables import MEAN

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
