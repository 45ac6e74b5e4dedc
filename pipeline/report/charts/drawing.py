"""What all charts share: style, colours, and SVG data addresses that are the same bytes for the same numbers."""

import base64
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from crossmodalnet.metrics.scores import METRICS, Metric
from pipeline.config.variants import ATLAS
from pipeline.report.artefacts.results import Method

# Told apart by readers with any kind of colour vision too: the least distance of any two, the atlas included,
# is 20 in CIELAB, with normal vision and with all three kinds of dichromacy (simulated as Machado et al. 2009).
MODEL_COLOURS = ("#1d4e89", "#d55e00", "#009e73", "#f0b429", "#88ccee", "#000000", "#661100")
ATLAS_COLOUR = "#8a95a5"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
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


def place_of(methods: Sequence[Method], name: str) -> int:
    """Place of a model among the models, which gives it its colour and marker."""
    return [method.name for method in methods if method.name != ATLAS].index(name)


def colour_of(methods: Sequence[Method], name: str) -> str:
    """Colour of a method in every chart: grey for the atlas, one per model."""
    return ATLAS_COLOUR if name == ATLAS else MODEL_COLOURS[place_of(methods, name) % len(MODEL_COLOURS)]


def marker_of(methods: Sequence[Method], name: str) -> str:
    """Marker of a method in charts of points."""
    return "*" if name == ATLAS else MARKERS[place_of(methods, name) % len(MARKERS)]


def metric_of(key: str) -> Metric:
    """Find a metric by its key."""
    return next(metric for metric in METRICS if metric.key == key)


def axis_title(metric: Metric) -> str:
    """Name a metric with its unit."""
    return f"{metric.title}, {metric.unit}" if metric.unit else metric.title


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


def patch_legend(figure: Figure, methods: Sequence[Method]) -> None:
    """Name the methods by patches of their colours, above the panels."""
    handles = [Patch(color=colour_of(methods, method.name), label=method.title) for method in methods]
    figure.legend(handles=handles, loc="outside upper right", ncols=min(4, len(handles)), fontsize=9)


def point_legend(figure: Figure, methods: Sequence[Method]) -> None:
    """Name the methods by their markers and colours, right of the panels."""
    handles = [
        Line2D(
            [], [], color=colour_of(methods, method.name), marker=marker_of(methods, method.name), ls="", ms=7,
            label=method.title,
        )
        for method in methods
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside right upper", fontsize=9, labelspacing=0.9)
