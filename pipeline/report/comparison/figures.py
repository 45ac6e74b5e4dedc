"""Charts of the comparison: ranks with their intervals, Dice against step time, differences of ablations."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.comparison.titles import ABLATION_TITLES
from pipeline.evaluation.profile import Profile
from pipeline.evaluation.score_cases import MEAN
from pipeline.report.artefacts.comparison_records import Difference
from pipeline.report.artefacts.results import Estimate, Result
from pipeline.report.charts.drawing import (
    LINES,
    MODEL_COLOURS,
    MUTED,
    axis_title,
    colour_of,
    marker_of,
    metric_of,
    point_legend,
    svg,
)

RANK_KEYS = ("dice", "iou", "hd95_mm")


def rank_chart(results: Sequence[Result], ranks: pd.DataFrame) -> str:
    """Draw the rank of every method as a dot on its 95 % interval, a panel per metric, a row per method."""
    rows = ranks[ranks["method"].isin([result.name for result in results])]
    titles = {"iou": "MIoU"}

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(RANK_KEYS), sharey=True, squeeze=False)[0]
        for axes, key in zip(panels, RANK_KEYS, strict=True):
            of_metric = rows[rows["metric"] == key].set_index("method")
            for place, result in enumerate(results):
                if result.name in of_metric.index:
                    rank, low, high = of_metric.loc[result.name, ["rank", "low", "high"]].astype(float)
                    colour = colour_of(results, result.name)
                    axes.plot([low, high], [place, place], color=colour, lw=2.4, solid_capstyle="round")
                    axes.plot(
                        rank, place, marker_of(results, result.name), color=colour, ms=9, mec="white", mew=0.6
                    )
            axes.set_title(titles.get(key, metric_of(key).title))
            axes.set_xlim(0.6, len(results) + 0.4)
            axes.set_xticks(range(1, len(results) + 1))
            axes.set_xlabel("rank (1 is best)")
            axes.grid(True, axis="x")
        panels[0].set_yticks(range(len(results)), [result.short_title for result in results])
        panels[0].set_ylim(len(results) - 0.4, -0.6)

    return svg(draw, (10, 1.1 + 0.32 * len(results)))


def cost_chart(models: Sequence[Result], profiles: Mapping[str, Profile]) -> str:
    """Draw mean Dice with its interval against the time of a training step, relative to the reference network."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for result in models:
            estimate, ratio = result.estimates.get(("dice", MEAN)), profiles[result.name].step_ratio
            if estimate is None:
                continue
            colour = colour_of(models, result.name)
            around_x = [[max(0.0, ratio.median - ratio.low)], [max(0.0, ratio.high - ratio.median)]]
            axes.errorbar(
                ratio.median, estimate.mean, _whisker(estimate), around_x, color=colour, lw=0.9, capsize=2
            )
            marker = marker_of(models, result.name)
            axes.plot(ratio.median, estimate.mean, marker, color=colour, ms=9, mec="white", mew=0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel("training step, times that of the reference U-Net")
        axes.set_ylabel("mean Dice")
        axes.grid(True)
        point_legend(figure, models)

    return svg(draw, (10, 3.8))


def ablation_chart(gains: Mapping[str, Mapping[str, Difference | None]], times: Mapping[str, float]) -> str:
    """Draw what the full network has over each ablation: Dice, HD95, and the time of a step.

    Args:
        gains: full network minus ablation, by metric key and ablation.
        times: step of the full network over that of the ablation, by ablation.
    """
    names = list(times)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(gains) + 1, sharey=True)
        for axes, (key, differences) in zip(panels, gains.items(), strict=False):
            metric = metric_of(key)
            for place, name in enumerate(names):
                if difference := differences[name]:
                    helps = (difference.mean > 0) == metric.higher_is_better
                    _difference(axes, place, difference, MODEL_COLOURS[0 if helps else 1])
            axes.axvline(0, color=MUTED, lw=1)
            axes.set_title(f"Brings: {axis_title(metric)}")
            axes.set_xlabel("better →" if metric.higher_is_better else "← better")
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.grid(True, axis="x")
        panels[-1].barh(range(len(names)), list(times.values()), 0.55, color=LINES, ec=MUTED, lw=0.6)
        for place, ratio in enumerate(times.values()):
            panels[-1].annotate(
                f"{ratio:.2f}", (ratio, place), (3, 0), textcoords="offset points", va="center", fontsize=8
            )
        panels[-1].axvline(1, color=MUTED, lw=1)
        panels[-1].set_title("Costs: step time, ×")
        panels[-1].set_xlim(0, 1.2 * max(1.0, *times.values()))
        panels[-1].set_xlabel("full network / ablation")
        panels[0].set_yticks(range(len(names)), [ABLATION_TITLES.get(name, name) for name in names])
        panels[0].set_ylim(len(names) - 0.4, -0.6)

    return svg(draw, (10, 1.2 + 0.34 * len(names)))


def _difference(axes: Axes, place: int, difference: Difference, colour: str) -> None:
    axes.plot([difference.low, difference.high], [place, place], color=colour, lw=2.2, solid_capstyle="round")
    axes.plot(difference.mean, place, "o", color=colour, mec="white", ms=7)


def _whisker(estimate: Estimate) -> list[list[float]] | None:
    if estimate.low is None or estimate.high is None:
        return None
    return [[max(0.0, estimate.mean - estimate.low)], [max(0.0, estimate.high - estimate.mean)]]
