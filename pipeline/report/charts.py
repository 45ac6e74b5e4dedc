"""Style, colours and legends of all charts, and SVG data addresses: the same bytes for the same numbers."""

import base64
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from pipeline.comparison.titles import title_of
from pipeline.config.variants import ATLAS

# Distinct with any kind of colour vision: the least distance of any two, the atlas included, is 20 in CIELAB, with
# normal vision and with all three kinds of dichromacy (simulated as Machado et al. 2009).
MODEL_COLOURS = ("#1d4e89", "#d55e00", "#009e73", "#f0b429", "#88ccee", "#000000", "#661100")
BLUE, ORANGE, GREEN = MODEL_COLOURS[:3]
ATLAS_COLOUR = "#8a95a5"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, MUTED, LINES = "#1c2733", "#5b6776", "#e3e8ee"
# Losses in print, here and in the sections; any other is called by its name.
OBJECTIVES = {"dice": "Dice loss", "ce": "cross-entropy", "cmif": "CMIF penalty, nats"}

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
    "axes.grid": True,
    "grid.color": LINES,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def svg(draw: Callable[[Figure], None], size_inches: tuple[float, float]) -> str:
    """Run `draw` on a figure in the report's style; returns a `data:` address."""
    return "data:image/svg+xml;base64," + base64.b64encode(picture(draw, size_inches)).decode()


def picture(draw: Callable[[Figure], None], size_inches: tuple[float, float]) -> bytes:
    """Run `draw` on a figure in the report's style; returns an SVG file."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size_inches, layout="constrained")
        draw(figure)
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def colour_of(models: Sequence[str], name: str) -> str:
    """Give the colour of a method in every chart: grey for the atlas, one per model."""
    return ATLAS_COLOUR if name == ATLAS else MODEL_COLOURS[models.index(name) % len(MODEL_COLOURS)]


def marker_of(models: Sequence[str], name: str) -> str:
    """Give the marker of a method in charts of points; models that share a colour have different ones."""
    number = 0 if name == ATLAS else models.index(name)
    return "*" if name == ATLAS else MARKERS[(number + number // len(MODEL_COLOURS)) % len(MARKERS)]


def whisker(value: ArrayLike, low: ArrayLike, high: ArrayLike) -> Any:
    """Give lengths of error bars below and above, `(2, n)`; never negative, as rounding could make them."""
    ends = np.array([np.asarray(value, float) - low, np.asarray(high, float) - value])
    return np.clip(ends.reshape(2, -1), 0, None)


def draw_curves(axes: Axes, curves: Sequence[pd.DataFrame], column: str, colour: str, **look: Any) -> None:
    """Draw a column over the epochs: of the first seed thick and as `look` says, of the others thin."""
    first, *others = curves
    for curve in reversed(others):
        axes.plot(curve["epoch"], curve[column], color=colour, lw=0.7, alpha=0.6)
    look = {"color": colour, "lw": 1.8, "marker": "o" if len(first) < 3 else "", **look}
    axes.plot(first["epoch"], first[column], **look)


def patch_legend(figure: Figure, models: Sequence[str], shown: Sequence[str]) -> None:
    """Name the methods by patches of their colours, above the panels."""
    handles = [Patch(color=colour_of(models, name), label=title_of(name)) for name in shown]
    figure.legend(handles=handles, loc="outside upper right", ncols=min(4, len(handles)), fontsize=9)


def point_legend(figure: Figure, models: Sequence[str]) -> None:
    """Name the models by their markers and colours, right of the panels."""
    handles = []
    for name in models:
        colour, marker = colour_of(models, name), marker_of(models, name)
        handles.append(Line2D([], [], color=colour, marker=marker, ls="", ms=7, label=title_of(name)))
    figure.legend(handles=handles, loc="outside right upper", fontsize=9, labelspacing=0.9)
