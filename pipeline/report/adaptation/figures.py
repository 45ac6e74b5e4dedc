"""Curves of an adaptation: its terms, how well domains can be told apart, and how far classes lie apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.report.artefacts.results import Training
from pipeline.report.charts.curves import ALIGNED
from pipeline.report.charts.drawing import MODEL_COLOURS, MUTED, svg

# A term that is not here is called by its name.
_WORDS = {
    "marginal": "marginal: features",
    "conditional": "conditional: features given classes",
    "output": "output: entropy maps",
    "self_training": "self-training: own labels",
    "topology": "topology: spanning trees",
    "volumes": "volumes: shares of the heart",
}
TERMS: Mapping[str, str] = MappingProxyType(
    {name: _WORDS.get(name, name.replace("_", " ")) for name in ALIGNED}
)


@dataclass(frozen=True)
class _Panel:
    title: str
    columns: Mapping[str, str]
    line: float | None = None
    top: float | None = None


_PANELS = (
    _Panel("Terms of the adaptation", {f"loss_{name}": TERMS[name] for name in ALIGNED}),
    _Panel(
        "Discriminators that are right",
        {"marginal_accuracy": "of features", "conditional_accuracy": "of features given classes"},
        line=0.5,
        top=1.0,
    ),
    _Panel("Distance of class prototypes", {"prototype_distance": ""}),
    _Panel(
        "What weights are kept by",
        {"val_dice": "validation Dice, source", "target_entropy": "entropy of the output, target"},
        top=1.0,
    ),
)


def adaptation_chart(training: Training) -> str:
    """Draw what is recorded of an adaptation over the epochs, the first seed thick and the others thin.

    A quantity that was not recorded, as that of a term of strength 0, is left out; empty where nothing was.
    """
    curves = list(training.curves.values())
    panels = [panel for panel in _PANELS if any(column in curves[0] for column in panel.columns)]
    if not panels:
        return ""

    def draw(figure: Figure) -> None:
        rows = (len(panels) + 1) // 2
        cells = figure.subplots(rows, 2, squeeze=False).ravel()
        for axes, panel in zip(cells, panels, strict=False):
            _draw_panel(axes, panel, curves)
        for axes in cells[len(panels) :]:
            axes.set_axis_off()
        for axes in cells[max(0, len(panels) - 2) : len(panels)]:
            axes.set_xlabel("epoch")

    return svg(draw, (10, 2.8 * ((len(panels) + 1) // 2)))


def _draw_panel(axes: Axes, panel: _Panel, curves: Sequence[pd.DataFrame]) -> None:
    if panel.line is not None:
        axes.axhline(panel.line, color=MUTED, lw=1, ls="--", label="by chance")
    shown = {column: label for column, label in panel.columns.items() if column in curves[0]}
    for (column, label), colour in zip(shown.items(), MODEL_COLOURS, strict=False):
        for number, curve in reversed(list(enumerate(curves))):
            if column in curve:
                axes.plot(
                    curve["epoch"], curve[column], color=colour, lw=0.7 if number else 1.8,
                    alpha=0.6 if number else 1.0, marker="o" if len(curve) < 3 else "", label=None if number else label,
                )  # fmt: skip
    axes.set_title(panel.title)
    axes.set_ylim(bottom=0, top=panel.top)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(True)
    if len(shown) > 1 or panel.line is not None:
        axes.legend(fontsize=8)
