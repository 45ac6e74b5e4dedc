"""Robustness: scores with one modality missing, and Dice over the misregistration of the MR."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmodalnet.metrics.scores import HEADLINE, METRIC
from pipeline.comparison import conditions, misregistration
from pipeline.comparison.misregistration import FAR_MM
from pipeline.comparison.titles import ABLATION_TITLES, short_title_of, title_of
from pipeline.config.variants import OURS, is_ablation
from pipeline.evaluation.score_cases import VIEW_TITLES
from pipeline.report.artefacts import Artefacts
from pipeline.report.charts import MARKERS, MODEL_COLOURS, colour_of, marker_of, svg
from pipeline.report.sections.comparison import read_compared, read_statements
from pipeline.report.tables import Table, interval, make_table, metric_title, number, signed


def section(artefacts: Artefacts) -> dict[str, Any] | None:
    """Show what was measured under other conditions; None where nothing was."""
    views = read_compared(artefacts, conditions.TABLE, conditions.COLUMNS, optional=True)
    shifts = read_compared(artefacts, misregistration.TABLE, misregistration.COLUMNS, optional=True)
    by_method = {title_of(str(name)): view_table(own) for name, own in views.groupby("method", sort=False)}
    content: dict[str, Any] = {"views": by_method, "shifts": None}
    if len(shifts):
        statements = read_statements(artefacts, misregistration.STATEMENTS)
        losses = read_compared(artefacts, misregistration.LOSSES, misregistration.LOSS_COLUMNS)
        content["shifts"] = {
            "cut": _is_cut(shifts),
            "chart": shift_chart(artefacts.models, shifts),
            "degrees": f"{shifts['turned_degrees'].max():g}",
            "table": shift_table(shifts, losses),
            "statements": [s for s in statements if s.get("family") != "ablations"],
            "ablations": [s for s in statements if s.get("family") == "ablations"],
        }
    return content if len(views) or len(shifts) else None


def view_table(rows: pd.DataFrame) -> Table:
    """Print what a network makes of the pair and of either modality alone, a row per view."""
    printed = []
    for view, title in VIEW_TITLES.items():
        own = rows[rows["view"] == view.value].set_index("metric")
        own = own[["mean", "low", "high", "difference", "difference_low", "difference_high"]].astype(float)
        row = {"The network sees": title}
        for metric in (METRIC[key] for key in HEADLINE):
            mean, low, high, change, change_low, change_high = own.reindex([metric.key]).to_numpy()[0]
            row[metric_title(metric)] = number(mean, metric.digits)
            if metric.key == "dice":
                row["95 % interval"] = interval(low, high, metric.digits)
                changes = {
                    "Dice against CT + MR": signed(change, metric.digits),
                    "95 % interval of that": interval(change_low, change_high, metric.digits, sign=True),
                }
        printed.append({**row, **changes})
    return make_table(printed)


def shift_table(shifts: pd.DataFrame, losses: pd.DataFrame) -> Table:
    """Print Dice at every displacement, and the mean loss at the far ones where there are any."""
    dice = shifts.pivot(index="method", columns="moved_mm", values="dice")
    far = losses.set_index("method")[["loss", "low", "high"]].astype(float).reindex(dice.index)
    rows = []
    for name in dict.fromkeys(shifts["method"]):
        row = {"Method": title_of(name)}
        row |= {f"{shift:g} mm": number(value, 3) for shift, value in dice.loc[name].items()}
        if len(losses):
            loss, low, high = far.loc[[name]].to_numpy()[0]
            row |= {f"Lost from {FAR_MM:g} mm on": number(loss, 3), "95 % interval": interval(low, high, 3)}
        rows.append(row)
    return make_table(rows)


def shift_chart(models: Sequence[str], shifts: pd.DataFrame) -> str:
    """Draw mean Dice over the displacement of the MR, ablations in a panel of their own beside the full network."""
    lines = {str(name): own.sort_values("moved_mm") for name, own in shifts.groupby("method", sort=False)}
    measured = [name for name in models if name in lines]
    ablations = [name for name in lines if is_ablation(name)]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 2 if ablations else 1, sharey=True, squeeze=False)[0]
        panels[0].set(title="Networks" if len(measured) > 1 else "", ylabel="mean Dice")
        panels[-1].set_title("CrossModalNet and its ablations" if ablations else panels[0].get_title())
        for name in measured:
            for axes in panels if name == OURS else panels[:1]:
                _network(axes, models, name, lines[name])
        for place, name in enumerate(ablations):
            key, look = name.removeprefix(f"{OURS}-"), place % (len(MARKERS) - 1) + 1
            panels[1].plot(
                lines[name]["moved_mm"], lines[name]["dice"], marker=MARKERS[look], color=MODEL_COLOURS[look],
                label=ABLATION_TITLES.get(key, key), lw=1.1, ls="--", ms=4, alpha=0.65,
            )  # fmt: skip
        if not _is_cut(shifts):
            panels[0].set_ylim(bottom=0)
        for axes in panels:
            axes.set(xlabel="the MR is moved by, mm", xticks=sorted(shifts["moved_mm"].unique()))
            if len(axes.lines) > 1:  # below them, as lines may run anywhere
                axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8)

    return svg(draw, (10, 4.8 if len(lines) > 1 else 3.2))


def _is_cut(shifts: pd.DataFrame) -> bool:
    """Return True if the axis of the Dice may start above 0."""
    return bool(shifts["low"].min() > 0.2)


def _network(axes: Axes, models: Sequence[str], name: str, line: pd.DataFrame) -> None:
    colour, ours = colour_of(models, name), name == OURS
    look: dict[str, Any] = {"lw": 3.0, "ms": 8, "zorder": 4} if ours else {"lw": 1.4, "ms": 5}
    look |= {"marker": marker_of(models, name), "mec": "white", "label": short_title_of(name)}
    x, alpha = line["moved_mm"], 0.18 if ours else 0.07
    axes.fill_between(x, line["low"], line["high"], color=colour, alpha=alpha, lw=0)
    axes.plot(x, line["dice"], color=colour, **look)
