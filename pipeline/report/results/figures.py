"""Bars and box plots of the structures, a bar or box per method."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crossmodalnet.metrics.scores import Metric
from pipeline.evaluation.score_cases import MEAN
from pipeline.report.artefacts.results import ROWS, Result
from pipeline.report.charts.drawing import (
    INK,
    LINES,
    MUTED,
    axis_title,
    colour_of,
    metric_of,
    patch_legend,
    svg,
)


def bar_chart(results: Sequence[Result], keys: Sequence[str]) -> str:
    """Draw mean per structure and over all, bars with 95 % interval whiskers, one panel per metric key."""
    metrics = [metric_of(key) for key in keys]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(metrics), 1, squeeze=False)[:, 0]
        for axes, metric in zip(panels, metrics, strict=True):
            for number, result in enumerate(results):
                _bars(axes, result, metric, *_slot(number, len(results)), colour_of(results, result.name))
            _structure_axis(axes, metric)
            axes.set_title(metric.title if metric.key != "iou" else "IoU per structure; their mean is MIoU")
        patch_legend(figure, results)

    return svg(draw, (10, 0.5 + 2.9 * len(metrics)))


def box_plot(results: Sequence[Result], key: str) -> str:
    """Draw the test cases of every structure as points on a box (quartiles; whiskers to the extremes)."""
    metric = metric_of(key)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, result in enumerate(results):
            _boxes(axes, result, metric, *_slot(number, len(results)), colour_of(results, result.name))
        _structure_axis(axes, metric)
        if metric.higher_is_better:
            lowest = min(float(result.cases[key].min()) for result in results)
            axes.set_yticks(np.arange(0, 1.01, 0.05 if lowest > 0.6 else 0.2))
            axes.set_ylim(max(0.0, np.floor(10 * lowest) / 10 - 0.02), 1.01)
        patch_legend(figure, results)

    return svg(draw, (10, 3.5))


def _slot(number: int, num_methods: int) -> tuple[float, float]:
    """Offset from the structure's tick, and width, of one method's bar or box."""
    width = 0.8 / num_methods
    return (number - (num_methods - 1) / 2) * width, width


def _bars(axes: Axes, result: Result, metric: Metric, offset: float, width: float, colour: str) -> None:
    for place, structure in enumerate(ROWS):
        estimate = result.estimates.get((metric.key, structure))
        if estimate is None:
            continue
        x = place + offset + (0.35 if structure == MEAN else 0.0)
        axes.bar(x, estimate.mean, 0.92 * width, color=colour)
        top = estimate.mean
        if estimate.low is not None and estimate.high is not None:
            whisker = [[max(0.0, top - estimate.low)], [max(0.0, estimate.high - top)]]
            axes.errorbar(x, top, whisker, color=INK, lw=1, capsize=2)
            top = max(top, estimate.high)
        if width > 0.25:
            digits = 2 if metric.higher_is_better else 1
            offset_points = (0, 2)
            axes.annotate(
                f"{estimate.mean:.{digits}f}", (x, top), offset_points, textcoords="offset points",
                ha="center", va="bottom", fontsize=7.5, color=MUTED,
            )  # fmt: skip


def _boxes(axes: Axes, result: Result, metric: Metric, offset: float, width: float, colour: str) -> None:
    line = {"color": colour, "lw": 1.1}
    for place, structure in enumerate(ROWS):
        values = _values(result, metric, structure)
        x = place + offset + (0.35 if structure == MEAN else 0.0)
        if not len(values):
            continue
        axes.boxplot(
            values, positions=[x], widths=0.78 * width, whis=(0, 100), showfliers=False, showcaps=False,
            patch_artist=True, manage_ticks=False, whiskerprops=line, medianprops={"color": INK, "lw": 1.3},
            boxprops={"facecolor": colour + "38", "edgecolor": colour, "lw": 1.1},
        )  # fmt: skip
        spread = np.linspace(-0.2, 0.2, len(values)) * width if len(values) > 1 else np.zeros(1)
        axes.scatter(x + spread, values, s=11, color=colour, edgecolors="white", linewidths=0.4, zorder=3)


def _values(result: Result, metric: Metric, structure: str) -> NDArray[np.float64]:
    """Values of the cases, in the order of their names, so that a case keeps its place within every box."""
    cases = result.cases
    if structure == MEAN:
        values = cases.groupby("pair")[metric.key].mean().sort_index()
    else:
        values = cases[cases["structure"] == structure].sort_values("pair")[metric.key]
    return values.dropna().to_numpy(np.float64)


def _structure_axis(axes: Axes, metric: Metric) -> None:
    places = [place + (0.35 if name == MEAN else 0.0) for place, name in enumerate(ROWS)]
    axes.set_xticks(places, ROWS)
    axes.tick_params(axis="x", length=0)
    axes.get_xticklabels()[-1].set_fontweight("bold")
    axes.axvline(len(ROWS) - 1 - 0.33, color=LINES, lw=1)
    axes.set_xlim(-0.6, len(ROWS) - 0.05)
    axes.set_ylim(bottom=0)
    if metric.higher_is_better:
        axes.set_ylim(0, 1.08)
        axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.set_ylabel(axis_title(metric))
    axes.grid(True, axis="y")
