"""Training, registration, cropping, split and parameters: what the run was made of."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crossmodalnet.io.console import count
from crossmodalnet.training.adaptation.config import TERMS
from pipeline.comparison.titles import title_of
from pipeline.report import charts
from pipeline.report.artefacts import Artefacts
from pipeline.report.overlays import thumbnail
from pipeline.report.tables import Table, flatten, frame_table, make_table
from pipeline.runtime import paths
from pipeline.runtime.inputs import existing, read_table


def section(artefacts: Artefacts) -> dict[str, Any]:
    """Draw the curves of every network, and all of them in one panel where there are more than two."""
    trainings = []
    for name in artefacts.models:
        curves = [artefacts.curves[name, seed] for seed in artefacts.seeds]
        trainings.append((title_of(name), curve_chart(curves, artefacts.card(name)), _cost(curves[0])))
    overview = overview_chart(artefacts) if len(artefacts.models) > 2 else ""
    return {"overview": overview, "trainings": trainings}


def curve_chart(curves: Sequence[pd.DataFrame], card: Mapping[str, Any]) -> str:
    """Draw losses, weights and learning rate of the first seed, and validation Dice of all (others thin)."""
    curve = curves[0]
    kept = curve.iloc[kept_row(curve, card)]
    # The terms of an adaptation have their own section; the flow penalty has a weight that is not balanced.
    aligned = [f"{kind}_{term}" for kind in ("loss", "weight") for term in TERMS]
    supervised = curve.drop(columns=aligned, errors="ignore")
    total = "balanced sum" if len(supervised.columns) == len(curve.columns) else "sum with the adaptation"
    weights = supervised.drop(columns="weight_cmif", errors="ignore")
    contents = {
        "Training losses": {**objectives(supervised, "loss_"), "loss": total},
        f"Validation Dice (kept: {kept['val_dice']:.3f}, epoch {kept['epoch']:g})": {"val_dice": ""},
        "Balancing weights (Eq. 23)": objectives(weights, "weight_"),
        "Learning rate": {"lr": ""},
    }

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, 2, sharex=True).ravel()
        for axes, (title, columns) in zip(panels, contents.items(), strict=True):
            for (column, label), colour in zip(columns.items(), charts.MODEL_COLOURS, strict=False):
                look = {"ls": "--", "color": charts.ATLAS_COLOUR} if column == "loss" else {}
                shown = curves if column == "val_dice" else curves[:1]
                charts.draw_curves(axes, shown, column, colour, label=label, **look)
            axes.set(title=title, ylim=(0, None if {"loss", "lr"} & set(columns) else 1))
            if len(columns) > 1:
                axes.legend()
        panels[1].plot(kept["epoch"], kept["val_dice"], "o", color=charts.ORANGE, ms=6)
        panels[3].ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
        for axes in panels[2:]:
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return charts.svg(draw, (10, 5.2))


def overview_chart(artefacts: Artefacts) -> str:
    """Draw the validation Dice of every model: first seed thick and marked, the others thin."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name in artefacts.models:
            curves = [artefacts.curves[name, seed] for seed in artefacts.seeds]
            colour, marker = (of(artefacts.models, name) for of in (charts.colour_of, charts.marker_of))
            look = {"marker": marker, "ms": 5, "markevery": max(1, len(curves[0]) // 6)}
            charts.draw_curves(axes, curves, "val_dice", colour, **look)
        axes.set(ylim=(0, 1), yticks=np.arange(0, 1.01, 0.2), xlabel="epoch", ylabel="validation Dice")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        charts.point_legend(figure, artefacts.models)

    return charts.svg(draw, (10, 3.8))


def objectives(curve: pd.DataFrame, prefix: str) -> dict[str, str]:
    """Find the columns of the objectives and how to print them."""
    names = [str(column).removeprefix(prefix) for column in curve if str(column).startswith(prefix)]
    return {f"{prefix}{name}": charts.OBJECTIVES.get(name, name) for name in names}


def kept_row(curve: pd.DataFrame, card: Mapping[str, Any]) -> int:
    """Find the epoch whose weights were kept, as the card says; else the first with the highest Dice."""
    rows = np.flatnonzero(curve["epoch"] == card.get("best_epoch"))
    return int(rows[0]) if len(rows) else int(curve["val_dice"].to_numpy(float).argmax())


def _cost(curve: pd.DataFrame) -> str:
    parts = [count(len(curve), "epoch")]
    if "seconds" in curve:
        parts.append(f"{curve['seconds'].sum() / 60:.1f} minutes")
    if "samples_per_second" in curve:
        parts.append(f"{curve['samples_per_second'].median():.2g} samples a second")
    if "peak_memory_mb" in curve:
        parts.append(f"{curve['peak_memory_mb'].max() / 1024:.1f} GB at most")
    return ", ".join(parts)


def registration_section(artefacts: Artefacts) -> dict[str, Any] | None:
    """Show the quality of every registration; None where cases are single images."""
    if artefacts.single:
        return None
    folder, options = artefacts.top / paths.REGISTRATION_QC, artefacts.options
    table = read_table(folder / "pairs.csv", "register", ("pair", "role"))
    boards = {str(pair): existing(folder / f"checkerboards/{pair}.png", "register") for pair in table["pair"]}
    size = options.checkerboard_px, options.jpeg_quality
    shown = {pair: thumbnail(path, *size) for pair, path in boards.items()}
    return {"table": frame_table(table.dropna(axis=1, how="all")), "checkerboards": shown}


def split_section(artefacts: Artefacts) -> dict[str, Any]:
    """Show the crop of every pair, who trains, validates and tests, and subjects in more than one role."""
    crop = read_table(artefacts.top / paths.CROP_QC, "crop", ("pair",))
    roles = [{name for pair in pairs for name in pair.split("+")} for pairs in artefacts.split.values()]
    shared = [name for name in set().union(*roles) if sum(name in role for role in roles) > 1]
    num_cut = int(crop.filter(like="cut_").to_numpy().sum())
    unit = "Images" if artefacts.single else "Pairs"
    rows = [{"Role": r, unit: str(len(p)), "Names": ", ".join(p)} for r, p in artefacts.split.items()]
    split = make_table(rows, text=["Names"])
    return {"crop": frame_table(crop), "num_cut": num_cut, "split": split, "shared_subjects": sorted(shared)}


def parameters_section(artefacts: Artefacts) -> dict[str, Any]:
    """Show params.yaml, the model cards, and versions and machine of the first."""
    first = artefacts.card(artefacts.models[0])
    facts = {**first.get("versions", {}), **{key: first[key] for key in ("machine", "device") if key in first}}
    return {
        "versions": _key_table(facts),
        "params": (artefacts.top / paths.PARAMS).read_text("utf-8"),
        "cards": [(name, title_of(name), _key_table(artefacts.card(name))) for name in artefacts.models],
    }


def _key_table(content: Mapping[str, Any]) -> Table:
    return Table(["Key", "Value"], [False, False], flatten(content))
