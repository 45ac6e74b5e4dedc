"""The chart of Dice against misregistration: a line per network, ours emphasised, ablations apart and lighter."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.comparison.titles import ABLATION_TITLES
from pipeline.config.variants import OURS, method_of
from pipeline.report.artefacts.results import Result
from pipeline.report.charts.drawing import MARKERS, MODEL_COLOURS, colour_of, marker_of, svg


def misregistration_chart(models: Sequence[Result], ablations: Sequence[str], table: pd.DataFrame) -> str:
    """Draw mean Dice over the displacement of the MR.

    Args:
        models: networks, in the order that gives them their colours; those that were not measured are left out.
        ablations: keys of those that were measured; they have a panel of their own beside the full network.
        table: method, moved_mm, dice, low, high.
    """
    lines = {str(method): own.sort_values("moved_mm") for method, own in table.groupby("method", sort=False)}
    measured = [model for model in models if model.name in lines]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 2 if ablations else 1, sharey=True, squeeze=False)[0]
        panels[0].set_title("Networks" if len(measured) > 1 else "")
        panels[0].set_ylabel("mean Dice")
        for model in measured:
            _network(panels[0], models, model, lines[model.name])
        if ablations:
            panels[1].set_title("CrossModalNet and its ablations")
            for model in measured:
                if model.name == OURS:
                    _network(panels[1], models, model, lines[OURS])
            for place, key in enumerate(ablations):
                _ablation(panels[1], place, key, lines[method_of(key)])
        for axes in panels:
            axes.set_xlabel("the MR is moved by, mm")
            axes.set_xticks(sorted(table["moved_mm"].unique()))
            axes.grid(True)
            if len(axes.lines) > 1:  # below them, as lines may run anywhere
                axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8)

    return svg(draw, (10, 4.8 if len(lines) > 1 else 3.2))


def _network(axes: Axes, models: Sequence[Result], model: Result, line: pd.DataFrame) -> None:
    colour, own = colour_of(models, model.name), model.name == OURS
    axes.fill_between(
        line["moved_mm"], line["low"], line["high"], color=colour, alpha=0.18 if own else 0.07, lw=0
    )
    axes.plot(
        line["moved_mm"], line["dice"], marker=marker_of(models, model.name), color=colour, label=model.short_title,
        lw=3.0 if own else 1.4, ms=8 if own else 5, mec="white", mew=0.6, zorder=4 if own else 3,
    )  # fmt: skip


def _ablation(axes: Axes, place: int, key: str, line: pd.DataFrame) -> None:
    others = MODEL_COLOURS[1:]  # the first is that of the full network where it is the reference
    axes.plot(
        line["moved_mm"], line["dice"], marker=MARKERS[1:][place % len(others)], color=others[place % len(others)],
        label=ABLATION_TITLES.get(key, key), lw=1.1, ls="--", ms=4, alpha=0.65,
    )  # fmt: skip
