"""Charts of sensitivity and robustness: bounds against what was measured (Theorem 2.6, Corollary 2)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.report.artefacts.audit_records import Tables
from pipeline.report.audit.panels import BLUE, ORANGE, AuditPanel, log_axis, row_chart, threshold
from pipeline.report.charts.drawing import MODEL_COLOURS

# Of Definition 6: a sensitivity that grows beyond this many times its first value is not bounded.
GROWTH = 10
DISTURBANCES = {  # colour, marker, line
    "noise": (BLUE, "o", "-"),
    "bias field": (MODEL_COLOURS[2], "^", "-"),
    "blur": (MODEL_COLOURS[3], "D", "-"),
    "motion": (MODEL_COLOURS[4], "v", "-"),
    "attack": (ORANGE, "X", "--"),
}


def lipschitz_chart(tables: Tables) -> str:
    """Draw the bound over the network's parts with the largest ratio found, and growth of attention."""
    ratios = tables.get("power_iteration")
    largest = None if ratios is None else float(ratios["ratio"].max())

    def bounds(axes: Axes, rows: pd.DataFrame) -> None:
        _bounds(axes, rows, largest)

    panels = (
        AuditPanel("sensitivity_bounds", "Largest change of output over change of input", bounds, 1.7),
        AuditPanel("attention_growth", "Sensitivity of one cross attention", _growth),
    )
    return row_chart(tables, panels, 3.5)


def robustness_chart(tables: Tables) -> str:
    """Draw Dice over the level of each disturbance, and over the size of the change of the images."""
    panels = (
        AuditPanel("robustness", "Dice over strength of the disturbance", _levels),
        AuditPanel("robustness", "Dice over size of the change of the images", _sizes),
    )
    return row_chart(tables, panels, 3.3)


def _bounds(axes: Axes, rows: pd.DataFrame, largest: float | None) -> None:
    """Draw log10 of the cumulative bound, part by part, in the order of the computation."""
    places = np.arange(len(rows))
    last = float(rows["log10_bound"].iloc[-1])
    label = f"at most, up to this part; in the end {_power(last)}"
    axes.bar(places, rows["log10_bound"], 0.62, color="#c9d9ec", ec=BLUE, lw=0.9, label=label)
    if largest is not None and largest > 0:
        axes.axhline(
            np.log10(largest), color=ORANGE, lw=2.2, label=f"largest found for all parts: {largest:.3g}"
        )
    axes.yaxis.set_major_formatter(lambda log, _: _power(log))
    axes.legend(loc="upper left")
    axes.set_xticks(places, rows["part"], rotation=35, ha="right", rotation_mode="anchor")
    axes.set_ylabel("change out / change in")
    axes.set_ylim(top=1.28 * max(1.0, last))


def _power(log: float) -> str:
    return f"10$^{{{log:.0f}}}$"


def _growth(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the sensitivity over the factor on the inputs, in the order of the check."""
    scale, sensitivity = rows["scale"].to_numpy(float), rows["sensitivity"].to_numpy(float)
    axes.plot(scale, sensitivity, "o-", color=BLUE, lw=1.8, ms=5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    threshold(axes, GROWTH * sensitivity[0], f"{GROWTH} times the first value", side="right", above=False)
    shrinks = scale[-1] < scale[0]
    if shrinks:
        axes.invert_xaxis()
    axes.set_xlabel("factor on one key token" if shrinks else "factor on the inputs")
    axes.set_ylabel("output change / input change")


def _levels(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the mean of every level; the undisturbed one is of the same cases, since not all are attacked."""
    clean = rows[rows["disturbance"] == "none"].set_index("case")["dice"]
    for name, (colour, marker, line) in DISTURBANCES.items():
        found = rows[rows["disturbance"] == name]
        means = found.groupby("level")["dice"].mean()
        if len(means):
            levels, dice = [0, *means.index], [clean.reindex(found["case"].unique()).mean(), *means]
            axes.plot(levels, dice, marker=marker, ls=line, color=colour, lw=1.8, ms=6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("level (0: undisturbed)")
    axes.set_ylabel("mean Dice")


def _sizes(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw every case small and the mean of every level large."""
    for name, (colour, marker, line) in DISTURBANCES.items():
        found = rows[(rows["disturbance"] == name) & (rows["input_change"] > 0)]
        means = found.groupby("level")[["input_change", "dice"]].mean()
        if len(means):
            attack = name == "attack"
            axes.scatter(found["input_change"], found["dice"], s=9, color=colour, alpha=0.45, lw=0)
            axes.plot(
                means["input_change"], means["dice"], marker=marker, ls=line, color=colour, lw=1.6,
                ms=10 if attack else 6.5, mec="white", label="attack (worst found)" if attack else name,
            )  # fmt: skip
    if len(axes.lines):
        log_axis(axes.xaxis, axes.set_xscale)
        axes.legend(fontsize=8.5, loc="center left", bbox_to_anchor=(1, 0.5))
    clean = rows.loc[rows["disturbance"] == "none", "dice"]
    if len(clean):
        threshold(axes, clean.mean(), "undisturbed", side="right", above=True)
    axes.set_xlabel("l2 norm of the change")
    axes.set_ylabel("mean Dice")
