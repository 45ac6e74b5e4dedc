"""Charts as SVG data addresses: bars, box plots, training curves; the same bytes for the same numbers."""

import base64
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from pipeline.report.records import ATLAS, METRICS, ROWS, Metric, Result, Training
from pipeline.tables import MEAN

MODEL_COLOURS = ("#1d4e89", "#d97706", "#0f766e", "#a21caf", "#64748b", "#b45309", "#4d7c0f")
ATLAS_COLOUR = "#8a95a5"
OBJECTIVES = {"dice": "Dice loss", "ce": "cross-entropy"}
INK, MUTED, LINES = "#1c2733", "#5b6776", "#e3e8ee"

# A fixed salt and no date: the page is a function of its inputs. Text as outlines needs no fonts.
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "crossmodalnet",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": MUTED,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": LINES,
    "legend.frameon": False,
}


def colour_of(results: Sequence[Result], name: str) -> str:
    """Colour of a method in every chart: grey for the atlas, one per model."""
    models = [result.name for result in results if result.name != ATLAS]
    return ATLAS_COLOUR if name == ATLAS else MODEL_COLOURS[models.index(name) % len(MODEL_COLOURS)]


def bar_chart(results: Sequence[Result], keys: Sequence[str]) -> str:
    """Draw mean per structure and over all, bars with 95 % interval whiskers, one panel per metric key."""
    metrics = [metric for key in keys for metric in METRICS if metric.key == key]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(metrics), 1, squeeze=False)[:, 0]
        for axes, metric in zip(panels, metrics, strict=True):
            for number, result in enumerate(results):
                _bars(axes, result, metric, *_slot(number, len(results)), colour_of(results, result.name))
            _structure_axis(axes, metric)
            axes.set_title(metric.title if metric.key != "iou" else "IoU per structure; their mean is MIoU")
        _legend(figure, results)

    return _svg(draw, (10, 0.5 + 2.9 * len(metrics)))


def box_plot(results: Sequence[Result], key: str) -> str:
    """Draw the test cases of every structure as points on a box (quartiles; whiskers to the extremes)."""
    metric = next(metric for metric in METRICS if metric.key == key)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, result in enumerate(results):
            _boxes(axes, result, metric, *_slot(number, len(results)), colour_of(results, result.name))
        _structure_axis(axes, metric)
        if metric.higher_is_better:
            lowest = min(float(result.cases[key].min()) for result in results)
            axes.set_yticks(np.arange(0, 1.01, 0.05 if lowest > 0.6 else 0.2))
            axes.set_ylim(max(0.0, np.floor(10 * lowest) / 10 - 0.02), 1.01)
        _legend(figure, results)

    return _svg(draw, (10, 3.5))


def curve_chart(training: Training) -> str:
    """Draw losses, balancing weights, validation Dice and learning rate over the epochs."""
    curve = training.curve
    kept = curve.iloc[_kept_row(training)]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, 2, sharex=True).ravel()
        contents = (
            ("Training losses", {**_named(curve, "loss_"), "loss": "balanced sum"}),
            (f"Validation Dice (kept: {kept['val_dice']:.3f}, epoch {kept['epoch']:g})", {"val_dice": ""}),
            ("Balancing weights (Eq. 23)", _named(curve, "weight_")),
            ("Learning rate", {"lr": ""}),
        )
        for axes, (title, columns) in zip(panels, contents, strict=True):
            for (column, label), colour in zip(columns.items(), MODEL_COLOURS, strict=False):
                line = {"ls": "--", "color": ATLAS_COLOUR} if column == "loss" else {"color": colour}
                marker = "o" if len(curve) < 3 else ""
                axes.plot(curve["epoch"], curve[column], marker=marker, label=label, lw=1.6, **line)
            axes.set_title(title)
            axes.grid(True)
            if len(columns) > 1:
                axes.legend()
        panels[1].plot(kept["epoch"], kept["val_dice"], "o", color=MODEL_COLOURS[1], ms=6)
        panels[0].set_ylim(bottom=0)
        panels[1].set_ylim(0, 1)
        panels[2].set_ylim(0, 1)
        panels[3].set_ylim(bottom=0)
        panels[3].ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
        for axes in panels[2:]:
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)

    return _svg(draw, (10, 5.2))


def _svg(draw: Callable[[Figure], None], size_inches: tuple[float, float]) -> str:
    """Run `draw` on a figure in the report's style; returns a `data:` address."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size_inches, layout="constrained")
        draw(figure)
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


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
    axes.set_ylabel(f"{metric.title}, {metric.unit}" if metric.unit else metric.title)
    axes.grid(True, axis="y")


def _legend(figure: Figure, results: Sequence[Result]) -> None:
    handles = [Patch(color=colour_of(results, result.name), label=result.title) for result in results]
    figure.legend(handles=handles, loc="outside upper right", ncols=min(4, len(handles)), fontsize=9)


def _named(curve: pd.DataFrame, prefix: str) -> dict[str, str]:
    """Find the columns of the objectives and how to print them."""
    names = [str(column).removeprefix(prefix) for column in curve.columns if str(column).startswith(prefix)]
    return {f"{prefix}{name}": OBJECTIVES.get(name, name) for name in names}


def _kept_row(training: Training) -> int:
    """Find the epoch whose weights were kept, as the card says; else the first with the highest Dice."""
    rows = np.flatnonzero(training.curve["epoch"] == training.card.get("best_epoch"))
    return int(rows[0]) if len(rows) else int(training.curve["val_dice"].to_numpy(float).argmax())
