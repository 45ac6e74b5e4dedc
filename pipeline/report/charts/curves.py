"""Training curves: all of one model, and the validation Dice of all models in one panel."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crossmodalnet.training.adaptation.config import TERMS
from pipeline.report.artefacts.results import Training
from pipeline.report.charts.drawing import (
    ATLAS_COLOUR,
    MODEL_COLOURS,
    colour_of,
    marker_of,
    point_legend,
    svg,
)

OBJECTIVES = {"dice": "Dice loss", "ce": "cross-entropy", "cmif": "CMIF penalty, nats"}
# Added with a weight of its own, not balanced with the others.
UNBALANCED = "weight_cmif"
# Shown in the section on the adaptation, not among the supervised objectives.
ALIGNED = TERMS


def curve_chart(training: Training) -> str:
    """Draw losses, weights and learning rate of the first seed, and validation Dice of all (others thin)."""
    curve = training.curve
    aligned = [f"{kind}_{term}" for kind in ("loss", "weight") for term in ALIGNED]
    supervised = curve.drop(columns=aligned, errors="ignore")
    total = "balanced sum" if len(supervised.columns) == len(curve.columns) else "sum with the adaptation"
    kept = curve.iloc[kept_row(training)]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, 2, sharex=True).ravel()
        contents = (
            ("Training losses", {**named(supervised, "loss_"), "loss": total}),
            (f"Validation Dice (kept: {kept['val_dice']:.3f}, epoch {kept['epoch']:g})", {"val_dice": ""}),
            (
                "Balancing weights (Eq. 23)",
                named(supervised.drop(columns=UNBALANCED, errors="ignore"), "weight_"),
            ),
            ("Learning rate", {"lr": ""}),
        )
        for other in list(training.curves.values())[1:]:
            panels[1].plot(other["epoch"], other["val_dice"], color=MODEL_COLOURS[0], lw=0.8, alpha=0.55)
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
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return svg(draw, (10, 5.2))


def overview_chart(trainings: Sequence[Training]) -> str:
    """Draw the validation Dice of every model: first seed thick and marked, the others thin."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for training in trainings:
            colour = colour_of(trainings, training.name)
            for seed, curve in training.curves.items():
                first = seed == training.seed
                axes.plot(
                    curve["epoch"], curve["val_dice"], color=colour, lw=1.8 if first else 0.7,
                    alpha=1.0 if first else 0.6, ms=5, markevery=max(1, len(curve) // 6),
                    marker=marker_of(trainings, training.name) if first else "",
                )  # fmt: skip
        axes.set_ylim(0, 1)
        axes.set_yticks(np.arange(0, 1.01, 0.2))
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation Dice")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(True)
        point_legend(figure, trainings)

    return svg(draw, (10, 3.8))


def named(curve: pd.DataFrame, prefix: str) -> dict[str, str]:
    """Find the columns of the objectives and how to print them."""
    names = [str(column).removeprefix(prefix) for column in curve.columns if str(column).startswith(prefix)]
    return {f"{prefix}{name}": OBJECTIVES.get(name, name) for name in names}


def kept_row(training: Training) -> int:
    """Find the epoch whose weights were kept, as the card says; else the first with the highest Dice."""
    rows = np.flatnonzero(training.curve["epoch"] == training.card.get("best_epoch"))
    return int(rows[0]) if len(rows) else int(training.curve["val_dice"].to_numpy(float).argmax())
