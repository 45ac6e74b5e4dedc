"""Results: summary cards, bars and box plots, and tables of every structure and case."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmodalnet.imaging.structures import ABBREVIATIONS, STRUCTURES
from crossmodalnet.metrics.scores import METRIC, METRICS, Metric
from pipeline.comparison.titles import short_title_of, title_of
from pipeline.config.variants import ATLAS
from pipeline.evaluation.score_cases import MEAN
from pipeline.report import tables
from pipeline.report.artefacts import ROWS, Artefacts
from pipeline.report.charts import INK, LINES, MUTED, colour_of, patch_legend, svg, whisker
from pipeline.report.sections.claims import claims_sentence

# With more methods than these, only the reference and the best other network have a card.
MOST_CARDS = 3


def summary_section(artefacts: Artefacts) -> dict[str, Any]:
    """Make cards and sentences."""
    reference, *others = artefacts.models
    few = len(artefacts.methods) <= MOST_CARDS
    shown = artefacts.methods if few else [reference, *ranked(artefacts, others, METRICS[0])[:1]]
    cards = [_card(artefacts, name) for name in shown]
    if not few:
        cards[-1]["gain"] = f"best of the {len(others)} others in Dice; {cards[-1]['gain']}"
    compared = [] if artefacts.single else artefacts.models if few else [reference]
    sentences = [_against_atlas(artefacts, name) for name in compared]
    if others:
        sentences.append(standing(artefacts))
    return {"cards": cards, "sentences": sentences, "claims": claims_sentence(artefacts)}


def standing(artefacts: Artefacts) -> str:
    """Say in a sentence in what the first model of params.yaml is first."""
    behind = not_first(artefacts)
    ahead = [title for title in tables.MEAN_TITLES.values() if title not in behind]
    parts = [f"first in {tables.enumerate_words(ahead)}"] if ahead else []
    parts += [f"not first in {tables.enumerate_words(behind)}"] if behind else []
    first = title_of(artefacts.models[0])
    return f"Among {len(artefacts.models)} networks, {first} is {' and '.join(parts)}."


def not_first(artefacts: Artefacts) -> list[str]:
    """List the measures in which the first model of params.yaml is not first."""
    models, titles = artefacts.models, tables.MEAN_TITLES.items()
    orders = {title: ranked(artefacts, models, METRIC[key]) for key, title in titles}
    return [title for title, order in orders.items() if order and order[0] != models[0]]


def ranked(artefacts: Artefacts, names: Sequence[str], metric: Metric) -> list[str]:
    """Order methods by their mean, best first; those without one are left out."""
    sign = -1 if metric.higher_is_better else 1
    means = {name: sign * artefacts.score(name, metric.key)[0] for name in names}
    return sorted((name for name in names if math.isfinite(means[name])), key=means.__getitem__)


def _card(artefacts: Artefacts, name: str) -> dict[str, Any]:
    titles = {"dice": "Mean Dice", "iou": "MIoU", "hd95_mm": "Mean HD95"}
    cells = zip(METRICS, tables.score_cells(artefacts, MEAN)[name], strict=True)
    gain = tables.DASH
    if name != ATLAS and not artefacts.single:
        gain = tables.signed(artefacts.score(name, "dice")[0] - artefacts.score(ATLAS, "dice")[0], 3)
    return {
        "title": title_of(name),
        "colour": colour_of(artefacts.models, name),
        "figures": [(titles[m.key], m.unit, cell) for m, cell in cells if m.key in titles],
        "gain": "" if gain == tables.DASH else f"{gain} Dice against the atlas",
    }


def _against_atlas(artefacts: Artefacts, name: str) -> str:
    """Compare a model with registration alone, case by case, in one sentence."""
    dice = artefacts.case_means("dice")
    better = f"{(dice[name] > dice[ATLAS]).sum()} of {len(dice)} test cases"
    sentence = f"{title_of(name)} has a higher mean Dice than the atlas baseline in {better}"
    distances = {artefacts.score(name, "hd95_mm", s)[0]: s for s in ABBREVIATIONS}
    if defined := [distance for distance in distances if math.isfinite(distance)]:
        worst = max(defined)
        sentence += f"; its largest mean HD95 is that of {distances[worst]}, {worst:.1f} mm"
    return f"{sentence}."


# The means stand a little apart from the structures.
PLACES = {name: place + (0.35 if name == MEAN else 0.0) for place, name in enumerate(ROWS)}


def structures_section(artefacts: Artefacts) -> dict[str, Any]:
    """Show every metric of every structure."""
    counts = artefacts.cases.groupby("method")[["missed", "undefined"]].sum()
    return {
        "overlap_bars": bar_chart(artefacts, ("dice", "iou")),
        "distance_bars": bar_chart(artefacts, ("hd95_mm",)),
        "groups": result_groups(artefacts),
        "counts": {c: ", ".join(f"{title_of(m)} {counts[c][m]}" for m in artefacts.methods) for c in counts},
    }


def cases_section(artefacts: Artefacts) -> dict[str, Any]:
    """Show every test case."""
    shown = {}
    for key in ("dice", "hd95_mm"):
        means, metric = artefacts.case_means(key), METRIC[key]
        rows = [{"Pair": str(pair)} for pair in sorted(artefacts.images)]
        for row in rows:
            values = {short_title_of(m): tables.number(means[m][row["Pair"]], metric.digits) for m in artefacts.methods}
            row.update(values)
        shown[tables.metric_title(metric)] = tables.make_table(rows)
    return {
        "dice_boxes": box_plot(artefacts, "dice"),
        "distance_boxes": box_plot(artefacts, "hd95_mm"),
        "cut": _lowest(artefacts, "dice") > 0,
        "tables": shown,
    }


def result_groups(artefacts: Artefacts) -> list[tuple[str, str, str, list[tuple[str, list[tables.Cell]]]]]:
    """Group the big table by structure, mean first: abbreviation, full name, colour, a row per method."""
    heads = [(MEAN, "mean of all structures", ""), *((s.abbreviation, s.name, s.colour) for s in STRUCTURES)]
    groups = []
    for name, full, colour in heads:
        cells = tables.score_cells(artefacts, name)
        groups.append((name, full, colour, [(title_of(method), own) for method, own in cells.items()]))
    return groups


def bar_chart(artefacts: Artefacts, keys: Sequence[str]) -> str:
    """Draw mean per structure and over all, bars with 95 % interval whiskers, one panel per metric key."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(keys), 1, squeeze=False)[:, 0]
        for axes, metric in zip(panels, (METRIC[key] for key in keys), strict=True):
            for method, offset, width in _slots(artefacts):
                colour = colour_of(artefacts.models, method)
                scores = [(x + offset, *artefacts.score(method, metric.key, s)) for s, x in PLACES.items()]
                places, means, low, high = np.array([row for row in scores if math.isfinite(row[1])]).T
                ends = np.nan_to_num(whisker(means, low, high))
                look: dict[str, Any] = {"color": colour, "ecolor": INK, "capsize": 2, "error_kw": {"lw": 1}}
                bars = axes.bar(places, means, 0.92 * width, yerr=ends, **look)
                if width > 0.25:
                    form = "{:.2f}" if metric.higher_is_better else "{:.1f}"
                    axes.bar_label(bars, fmt=form, padding=2, fontsize=7.5, color=MUTED)
            _structure_axis(axes, metric)
            axes.set_title(metric.title if metric.key != "iou" else "IoU per structure; their mean is MIoU")
        patch_legend(figure, artefacts.models, artefacts.methods)

    return svg(draw, (10, 0.5 + 2.9 * len(keys)))


def box_plot(artefacts: Artefacts, key: str) -> str:
    """Draw the test cases of every structure as points on a box (quartiles; whiskers to the extremes)."""
    metric, means = METRIC[key], artefacts.case_means(key)
    # Sorted by name, so that a case keeps its place within every box.
    cases = artefacts.cases.sort_values("pair").groupby(["method", "structure"])[key]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for method, offset, width in _slots(artefacts):
            for structure, place in PLACES.items():
                values = means[method] if structure == MEAN else cases.get_group((method, structure))
                colour = colour_of(artefacts.models, method)
                _box(axes, place + offset, width, values.dropna().to_numpy(float), colour)
        _structure_axis(axes, metric)
        if metric.higher_is_better:
            lowest = _lowest(artefacts, key)
            axes.set_yticks(np.arange(0, 1.01, 0.05 if lowest > 0.5 else 0.2))
            axes.set_ylim(lowest, 1.01)
        patch_legend(figure, artefacts.models, artefacts.methods)

    return svg(draw, (10, 3.5))


def _lowest(artefacts: Artefacts, key: str) -> float:
    """Give the lower end of the axis of a measure of overlap."""
    return max(0.0, float(np.floor(10 * artefacts.cases[key].min())) / 10 - 0.02)


def _slots(artefacts: Artefacts) -> list[tuple[str, float, float]]:
    """List the methods with the offset from the structure's tick, and the width, of their bars or boxes."""
    width = 0.8 / len(artefacts.methods)
    middle = (len(artefacts.methods) - 1) / 2
    return [(method, (place - middle) * width, width) for place, method in enumerate(artefacts.methods)]


def _box(axes: Axes, x: float, width: float, values: Any, colour: str) -> None:
    if not len(values):
        return
    axes.boxplot(
        values, positions=[x], widths=0.78 * width, whis=(0, 100), showfliers=False, showcaps=False,
        patch_artist=True, manage_ticks=False, whiskerprops={"color": colour, "lw": 1.1},
        medianprops={"color": INK, "lw": 1.3}, boxprops={"fc": f"{colour}38", "ec": colour, "lw": 1.1},
    )  # fmt: skip
    spread = np.linspace(-0.2, 0.2, len(values)) * width if len(values) > 1 else np.zeros(1)
    axes.scatter(x + spread, values, s=11, color=colour, edgecolors="white", linewidths=0.4, zorder=3)


def _structure_axis(axes: Axes, metric: Metric) -> None:
    axes.set_xticks(list(PLACES.values()), list(PLACES))
    axes.tick_params(axis="x", length=0)
    axes.get_xticklabels()[-1].set_fontweight("bold")
    axes.axvline(len(ROWS) - 1 - 0.33, color=LINES, lw=1)
    axes.set_xlim(-0.6, len(ROWS) - 0.05)
    axes.set_ylim(bottom=0)
    if metric.higher_is_better:
        axes.set(ylim=(0, 1.08), yticks=np.arange(0, 1.01, 0.2))
    axes.set_ylabel(tables.metric_title(metric, {}))
    axes.grid(False, axis="x")
