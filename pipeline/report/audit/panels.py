"""Charts of the audit's tables: panels side by side, of which those without their table are left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import ArrayLike

from pipeline.report.artefacts.audit_records import Tables
from pipeline.report.charts.drawing import MODEL_COLOURS, MUTED, svg

BLUE, ORANGE, GREEN = MODEL_COLOURS[:3]
DASHES = (0, (4, 3))
HOLDS = "#e3f3ea"  # behind values that a statement allows


@dataclass(frozen=True)
class AuditPanel:
    """One of a chart's panels.

    Attributes:
        table: table that the panel shows.
        title: above it.
        draw: onto its axes.
        width: relative to the others.
    """

    table: str
    title: str
    draw: Callable[[Axes, pd.DataFrame], None]
    width: float = 1.0


def row_chart(tables: Tables, panels: Sequence[AuditPanel], height_inches: float) -> str:
    """Draw panels side by side; empty where all their tables are missing."""
    shown = [panel for panel in panels if panel.table in tables]
    if not shown:
        return ""

    def draw(figure: Figure) -> None:
        widths = [panel.width for panel in shown]
        row = figure.subplots(1, len(shown), squeeze=False, width_ratios=widths)[0]
        for axes, panel in zip(row, shown, strict=True):
            panel.draw(axes, tables[panel.table])
            axes.set_title(panel.title)
            axes.grid(True)

    return svg(draw, (10, height_inches))


def whisker(value: ArrayLike, low: ArrayLike, high: ArrayLike) -> list[np.ndarray]:
    """Lengths of error bars below and above; never negative, as rounding could make them."""
    middle = np.asarray(value, float)
    return [np.clip(middle - np.asarray(low), 0, None), np.clip(np.asarray(high) - middle, 0, None)]


def threshold(axes: Axes, value: float, text: str, *, side: Literal["left", "right"], above: bool) -> None:
    """Draw a dashed horizontal line with its meaning at one of its ends, above or below it."""
    axes.axhline(value, color=MUTED, lw=1, ls=DASHES)
    right = side == "right"
    axes.annotate(
        text, (1.0 if right else 0.0, value), (-2 if right else 4, 2 if above else -3),
        xycoords=("axes fraction", "data"), textcoords="offset points", ha=side, va="bottom" if above else "top",
        fontsize=8, color=MUTED,
    )  # fmt: skip


def log_axis(axis: Axis, scale: Callable[..., None]) -> None:
    """Make an axis of one or two decades logarithmic, with plain numbers at 1, 2 and 5."""
    scale("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
