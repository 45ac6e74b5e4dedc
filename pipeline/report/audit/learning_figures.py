"""Charts of learning: approximation (Theorem 2.3), balancing (Theorem 2.5) and generalisation (Definition 5)."""

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pipeline.report.artefacts.audit_records import MODES, Tables
from pipeline.report.audit.panels import BLUE, DASHES, GREEN, ORANGE, AuditPanel, row_chart, threshold
from pipeline.report.charts.curves import OBJECTIVES
from pipeline.report.charts.drawing import INK, MODEL_COLOURS, MUTED

TITLE_WIDTH = 22  # characters, of four panels in a row
CONVERGED = 1e-8  # smaller distances are drawn here
MODE_COLOURS = dict(zip(MODES, (BLUE, ORANGE, GREEN), strict=True))
MODE_TITLES = {
    "paper": "paper (smaller loss first)",
    "harder": "harder loss first",
    "uniform": "equal weights",
}
TERMS = {"complexity": "Rademacher complexity", "bound": "bound on the gap", "gap": "gap that was measured"}


def approximation_chart(tables: Tables) -> str:
    """Draw the error on every known function over width and depth, and Dice while one case is learned."""
    functions = [] if (table := tables.get("approximation")) is None else sorted(set(table["function"]))

    def panel(function: str) -> AuditPanel:
        def draw(axes: Axes, rows: pd.DataFrame) -> None:
            _errors(axes, rows[rows["function"] == function])

        return AuditPanel("approximation", fill(function[:1].upper() + function[1:], TITLE_WIDTH), draw)

    overfit = AuditPanel("overfitting", "Overfitting one case", _overfitting)
    return row_chart(tables, [*map(panel, functions), overfit], 2.9)


def balancing_chart(tables: Tables) -> str:
    """Draw convergence on the convex problem, weights over the training, and gradients of the trained network."""
    panels = (
        AuditPanel("balancing_convex", "Convex problem", _convergence),
        AuditPanel("balancing_weights", "Weights in training", _weights),
        AuditPanel("balancing_gradients", "Trained network's gradients", _gradients),
    )
    return row_chart(tables, panels, 3.2)


def generalisation_chart(tables: Tables) -> str:
    """Draw complexity, bound and measured gap as bars of a logarithmic axis; 1 is where a bound says nothing."""
    return row_chart(tables, [AuditPanel("generalisation", "Bound and measurement", _terms)], 1.9)


def _errors(axes: Axes, rows: pd.DataFrame) -> None:
    for (depth, line), colour, marker in zip(rows.groupby("depth"), MODEL_COLOURS, "os^DvPX", strict=False):
        ordered = line.sort_values("channels")
        axes.plot(
            ordered["channels"],
            ordered["error"],
            marker=marker,
            color=colour,
            lw=1.8,
            ms=5,
            label=f"depth {depth:g}",
        )
    axes.set_xscale("log", base=2)
    widths = sorted(set(rows["channels"]))
    axes.set_xticks(widths, [f"{width:g}" for width in widths])
    threshold(axes, 1, "a constant", side="right", above=True)
    axes.set_ylim(0, 1.15 * max(1.0, float(rows["error"].max())))
    axes.set_xlabel("width, channels")
    axes.set_ylabel("error, in standard deviations")
    axes.legend(fontsize=8)


def _overfitting(axes: Axes, rows: pd.DataFrame) -> None:
    axes.plot(rows["step"], rows["dice"], color=BLUE, lw=1.8, marker="o" if len(rows) < 12 else "", ms=4)
    threshold(axes, 0.99, "0.99", side="right", above=False)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("training step")
    axes.set_ylabel("mean Dice")


def _convergence(axes: Axes, rows: pd.DataFrame) -> None:
    for (mode, colour), style, width in zip(MODE_COLOURS.items(), ("-", "--", ":"), (2.8, 2, 2), strict=True):
        line = rows[rows["mode"] == mode].sort_values("step")
        distance = line["distance"].clip(lower=CONVERGED)
        axes.plot(line["step"] + 1, distance, color=colour, ls=style, lw=width, label=MODE_TITLES[mode])
    axes.set_xscale("log")  # fast at first, then slow
    axes.set_yscale("log")
    threshold(axes, 1e-3, "converged below", side="left", above=False)
    axes.set_xlabel("step")
    axes.set_ylabel("distance to Pareto stationarity")
    axes.legend(fontsize=8)


def _weights(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the weights of the objectives; of two the first alone, since the other is the rest."""
    names = list(dict.fromkeys(rows["objective"]))
    shown = names[:1] if len(names) == 2 else names
    for name, line in zip(shown, ("-", "--", ":", "-."), strict=False):
        for mode, colour in MODE_COLOURS.items():
            found = rows[(rows["mode"] == mode) & (rows["objective"] == name)].sort_values("epoch")
            axes.plot(found["epoch"], found["weight"], color=colour, ls=line, lw=1.8)
        axes.plot([], [], color=INK, ls=line, label=OBJECTIVES.get(name, name))
    axes.set_ylim(0, 1)
    axes.set_xlabel("epoch")
    axes.set_ylabel("weight of the " + OBJECTIVES.get(shown[0], shown[0]) if len(shown) == 1 else "weight")
    if len(shown) > 1:
        axes.legend(fontsize=8)


def _gradients(axes: Axes, rows: pd.DataFrame) -> None:
    places = np.arange(len(rows))
    colours = [MODE_COLOURS[mode] for mode in rows["mode"]]
    axes.bar(places, rows["weighted_norm"], 0.6, color=colours)
    for place, smallest in zip(places, rows["smallest_norm"], strict=True):
        axes.plot([place - 0.4, place + 0.4], [smallest] * 2, color=INK, lw=2)
    axes.plot([], [], color=INK, lw=2, label="smallest possible")
    axes.set_xticks(places, rows["mode"])
    axes.set_ylim(0, 1.3 * float(rows["weighted_norm"].max()))
    axes.set_ylabel("norm of the weighted gradient")
    axes.legend(fontsize=8, loc="upper right")


def _terms(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw a bar per positive term; on this axis others have none, but their number."""
    values = rows.set_index("term")["value"].reindex(list(TERMS)).dropna()
    left = min([0.01, *(value / 3 for value in values if value > 0)])
    colours = {"complexity": "#c9d9ec", "bound": BLUE, "gap": ORANGE}
    axes.barh(
        range(len(values)), values.clip(lower=left), 0.6, color=[colours[term] for term in values.index]
    )
    for place, value in enumerate(values):
        axes.annotate(
            f"{value:.3g}".replace("-", "−"), (max(value, left), place), (4, 0), textcoords="offset points",
            va="center", fontsize=9,
        )  # fmt: skip
    axes.set_yticks(range(len(values)), [TERMS[term] for term in values.index])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(left, 8 * max(1.0, float(values.max())))
    axes.axvline(1, color=MUTED, lw=1, ls=DASHES)
    axes.set_xlabel("of a loss between 0 and 1; right of the dashed line the bound says nothing")
