"""Per structure, test cases and overlays: bars, box plots, and tables of every structure and case."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.metrics.scores import Metric
from pipeline.comparison.titles import short_title_of, title_of
from pipeline.evaluation.score_cases import MEAN
from pipeline.report.artefacts import ROWS, Artefacts
from pipeline.report.charts import INK, LINES, MUTED, colour_of, patch_legend, svg, whisker
from pipeline.report.tables import Cell, make_table, metric_of, metric_title, number, score_cells

# The means stand a little apart from the structures.
PLACES = {name: place + (0.35 if name == MEAN else 0.0) for place, name in enumerate(ROWS)}


def structures_section(artefacts: Artefacts) -> dict[str, Any]:
    """Show every metric of every structure."""
    counts = artefacts.cases.groupby("method")[["missed", "undefined"]].sum()
    return {
        "overlap_bars": bar_chart(artefacts, ("dice", "iou")),
        "distance_bars": bar_chart(artefacts, ("hd95_mm",)),
        "groups": result_groups(artefacts),
        "counts": {
            column: ", ".join(f"{title_of(m)} {counts[column][m]}" for m in artefacts.methods)
            for column in counts
        },
    }


def cases_section(artefacts: Artefacts) -> dict[str, Any]:
    """Show every test case."""
    rows = {str(pair): {"Pair": str(pair)} for pair in sorted(artefacts.images)}
    for key in ("dice", "hd95_mm"):
        means, metric = artefacts.case_means(key), metric_of(key)
        for method in artefacts.methods:
            for pair, row in rows.items():
                value = number(means[method][pair], metric.digits)
                row[f"{metric_title(metric)}: {short_title_of(method)}"] = value
    return {
        "dice_boxes": box_plot(artefacts, "dice"),
        "distance_boxes": box_plot(artefacts, "hd95_mm"),
        "table": make_table(list(rows.values())),
    }


def result_groups(artefacts: Artefacts) -> list[tuple[str, str, str, list[tuple[str, list[Cell]]]]]:
    """Group the big table by structure, mean first: abbreviation, full name, colour, a row per method."""
    heads = [(MEAN, "mean of all structures", ""), *((s.abbreviation, s.name, s.colour) for s in STRUCTURES)]
    groups = []
    for name, full, colour in heads:
        cells = score_cells(artefacts, name)
        groups.append((name, full, colour, [(title_of(m), cells[m]) for m in artefacts.methods]))
    return groups


def bar_chart(artefacts: Artefacts, keys: Sequence[str]) -> str:
    """Draw mean per structure and over all, bars with 95 % interval whiskers, one panel per metric key."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(keys), 1, squeeze=False)[:, 0]
        for axes, metric in zip(panels, map(metric_of, keys), strict=True):
            for method, offset, width in _slots(artefacts):
                colour = colour_of(artefacts.models, method)
                for structure, place in PLACES.items():
                    score = artefacts.score(method, metric.key, structure)
                    if math.isfinite(score[0]):
                        _bar(axes, place + offset, width, score, colour, 2 if metric.higher_is_better else 1)
            _structure_axis(axes, metric)
            axes.set_title(metric.title if metric.key != "iou" else "IoU per structure; their mean is MIoU")
        patch_legend(figure, artefacts.models, artefacts.methods)

    return svg(draw, (10, 0.5 + 2.9 * len(keys)))


def box_plot(artefacts: Artefacts, key: str) -> str:
    """Draw the test cases of every structure as points on a box (quartiles; whiskers to the extremes)."""
    metric, means = metric_of(key), artefacts.case_means(key)
    # Sorted by name, so that a case keeps its place within every box.
    cases = (
        artefacts.cases.sort_values("pair").set_index(["method", "structure"]).sort_index(kind="stable")[key]
    )

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for method, offset, width in _slots(artefacts):
            for structure, place in PLACES.items():
                values = means[method] if structure == MEAN else cases.loc[method, structure]
                _box(
                    axes,
                    place + offset,
                    width,
                    values.dropna().to_numpy(),
                    colour_of(artefacts.models, method),
                )
        _structure_axis(axes, metric)
        if metric.higher_is_better:
            lowest = float(cases.min())
            axes.set_yticks(np.arange(0, 1.01, 0.05 if lowest > 0.6 else 0.2))
            axes.set_ylim(max(0.0, np.floor(10 * lowest) / 10 - 0.02), 1.01)
        patch_legend(figure, artefacts.models, artefacts.methods)

    return svg(draw, (10, 3.5))


def _slots(artefacts: Artefacts) -> list[tuple[str, float, float]]:
    """List the methods with the offset from the structure's tick, and the width, of their bars or boxes."""
    width = 0.8 / len(artefacts.methods)
    middle = (len(artefacts.methods) - 1) / 2
    return [(method, (place - middle) * width, width) for place, method in enumerate(artefacts.methods)]


def _bar(
    axes: Axes, x: float, width: float, score: tuple[float, float, float], colour: str, digits: int
) -> None:
    mean, low, high = score
    axes.bar(x, mean, 0.92 * width, color=colour)
    known = math.isfinite(low) and math.isfinite(high)
    if known:
        axes.errorbar(x, mean, whisker(mean, low, high), color=INK, lw=1, capsize=2)
    if width > 0.25:
        top = (x, max(mean, high) if known else mean)
        look: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 7.5, "color": MUTED}
        axes.annotate(f"{mean:.{digits}f}", top, (0, 2), textcoords="offset points", **look)


def _box(axes: Axes, x: float, width: float, values: Any, colour: str) -> None:
    if not len(values):
        return
    axes.boxplot(
        values, positions=[x], widths=0.78 * width, whis=(0, 100), showfliers=False, showcaps=False,
        patch_artist=True, manage_ticks=False, whiskerprops={"color": colour, "lw": 1.1},
        medianprops={"color": INK, "lw": 1.3}, boxprops={"fc": f"{colour}38", "ec": colour, "lw": 1.1},
    )  # fmt: skip
    spread = np.linspace(-0.2, 0.2, len(values)) * width if len(values) > 1 else np.zeros(1)
    axes.scatter(x + spread, values, s=11, color=colour, edgecolors="white", linewidths=0.4, zorder=3)


def _structure_axis(axes: Axes, metric: Metric) -> None:
    axes.set_xticks(list(PLACES.values()), list(PLACES))
    axes.tick_params(axis="x", length=0)
    axes.get_xticklabels()[-1].set_fontweight("bold")
    axes.axvline(len(ROWS) - 1 - 0.33, color=LINES, lw=1)
    axes.set_xlim(-0.6, len(ROWS) - 0.05)
    axes.set_ylim(bottom=0)
    if metric.higher_is_better:
        axes.set(ylim=(0, 1.08), yticks=np.arange(0, 1.01, 0.2))
    axes.set_ylabel(metric_title(metric, {}))
    axes.grid(True, axis="y")
