"""Ablations: what each part of CrossModalNet brings in Dice and HD95 and costs in time."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from crossmodalnet.metrics.scores import METRIC
from pipeline.comparison.titles import ABLATION_TITLES, PARTS
from pipeline.config.variants import OURS, is_ablation, method_of
from pipeline.evaluation.profile import read_profile
from pipeline.report.artefacts import Artefacts
from pipeline.report.charts import BLUE, LINES, MUTED, ORANGE, svg
from pipeline.report.sections import comparison
from pipeline.report.sections.results import not_first
from pipeline.report.tables import DASH, interval, make_table, metric_title, number, signed


def section(artefacts: Artefacts) -> dict[str, Any] | None:
    """Compare the full network with its ablations; None where there are none."""
    names = list(artefacts.ablations)
    if not names:
        return None
    profiles = {name: read_profile(method_of(name), artefacts.top) for name in names}
    full = read_profile(OURS, artefacts.top)
    times = {
        name: full.step_ratio.median / own.step_ratio.median if full and own else math.nan
        for name, own in profiles.items()
    }
    sizes = {name: own.parameters if own else math.nan for name, own in {OURS: full, **profiles}.items()}
    tests = comparison.read_compared(artefacts, "pairwise.csv", comparison.TEST_COLUMNS)
    tests = tests[tests["method_b"].map(is_ablation)]
    gains = full_minus_ablation(tests, names)
    rows = [_row("full", artefacts.score(OURS, "dice")[0], 1.0, sizes[OURS], {})]
    for name in names:
        dice = artefacts.score(method_of(name), "dice")[0]
        rows.append(_row(ABLATION_TITLES.get(name, name), dice, times[name], sizes[name], _gains(gains, name)))
    statements = comparison.read_statements(artefacts)
    return {
        "behind": not_first(artefacts) if artefacts.models[0] == OURS else [],
        "better": [ABLATION_TITLES.get(n, n) for n in names if gains["dice"]["difference"][n] < 0],
        "rows": [_effect(gains, name, times[name]) for name in names],
        "table": make_table(rows),
        "chart_source": ablation_chart(gains, times),
        "general": [s for s in statements if s.get("family") == "ablations" and comparison.is_general(s)],
        "differences": comparison.test_tables(tests),
    }


def full_minus_ablation(tests: pd.DataFrame, names: list[str]) -> dict[str, pd.DataFrame]:
    """Take the tests against the ablations: by metric key, a row per ablation, NaN where it was not tested."""
    own = tests.set_index(["metric", "method_b"])
    rows = {key: own.reindex([(key, method_of(name)) for name in names]) for key in ("dice", "hd95_mm")}
    return {key: table.set_axis(names) for key, table in rows.items()}


def _effect(gains: dict[str, pd.DataFrame], name: str, time: float) -> dict[str, Any]:
    dice, distance = (table.loc[[name]].to_dict("records")[0] for table in gains.values())
    return {
        "part": PARTS.get(name, name),
        "tested": dice["difference"] == dice["difference"],
        "dice": signed(dice["difference"], 3),
        "verdict": dice["verdict"],
        "p": f"{dice['p_holm']:.3g}",
        "hd95": signed(distance["difference"], 1),
        "time": time,
    }


def _row(title: str, dice: float, time: float, parameters: float, gains: Mapping[str, str]) -> dict[str, str]:
    columns = ("Full − this: Dice", "p (Holm)", "Full − this: HD95, mm")
    return {
        "CrossModalNet": title,
        "Dice": number(dice, 3),
        **{column: gains.get(column, DASH) for column in columns},
        "Step, full / this": number(time, 2),
        "Parameters, M": number(parameters / 1e6, 2),
    }


def _gains(gains: dict[str, pd.DataFrame], name: str) -> dict[str, str]:
    """Print the differences in both metrics with their intervals, and p of the first; empty where not tested."""
    printed = {}
    for key, table in gains.items():
        own, metric = table.loc[[name]].to_dict("records")[0], METRIC[key]
        if own["difference"] == own["difference"]:
            mean = signed(own["difference"], metric.digits)
            ends = interval(own["low"], own["high"], metric.digits, sign=True)
            printed[f"Full − this: {metric_title(metric)}"] = f"{mean} ({ends})"
            printed.setdefault("p (Holm)", f"{own['p_holm']:.3g}")
    return printed


def ablation_chart(gains: dict[str, pd.DataFrame], times: dict[str, float]) -> str:
    """Draw the gains of `full_minus_ablation`, and the step time of the full network over that of each ablation."""
    places = range(len(times))

    def draw(figure: Figure) -> None:
        *panels, costs = figure.subplots(1, len(gains) + 1, sharey=True)
        for axes, (key, rows) in zip(panels, gains.items(), strict=True):
            metric = METRIC[key]
            for y, (mean, low, high) in enumerate(rows[["difference", "low", "high"]].to_numpy(float)):
                colour = BLUE if (mean > 0) == metric.higher_is_better else ORANGE
                axes.plot([low, high], [y, y], color=colour, lw=2.2, solid_capstyle="round")
                axes.plot(mean, y, "o", color=colour, mec="white", ms=7)
            axes.axvline(0, color=MUTED, lw=1)
            better = "better →" if metric.higher_is_better else "← better"
            axes.set(title=f"Brings: {metric_title(metric, {})}", xlabel=better)
            axes.locator_params(axis="x", nbins=5)
            axes.grid(False, axis="y")
        bars = costs.barh(places, list(times.values()), 0.55, color=LINES, ec=MUTED, lw=0.6)
        costs.bar_label(bars, fmt=lambda time: number(time, 2), padding=3, fontsize=8)
        costs.axvline(1, color=MUTED, lw=1)
        right = 1.2 * max(1.0, *times.values())
        costs.set(title="Costs: step time, ×", xlabel="full network / ablation", xlim=(0, right))
        panels[0].set_yticks(places, [ABLATION_TITLES.get(name, name) for name in times])
        panels[0].set_ylim(len(times) - 0.4, -0.6)

    return svg(draw, (10, 1.2 + 0.34 * len(times)))
