"""Charts behind the verdicts on the paper's claims, from the tables of stage `audit`.

A chart is a row of panels; those without their table are left out, and so is a chart without panels.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from pipeline.report.charts import INK, LINES, MARKERS, MODEL_COLOURS, MUTED, OBJECTIVES, svg
from pipeline.report.sections.flow_charts import flow_chart

Tables = Mapping[str, pd.DataFrame]
# Table, title, and what draws the table onto the axes.
Panel = tuple[str, str, Callable[[Axes, pd.DataFrame], None]]
# Colour, marker, line and label by the value of a column.
Looks = Mapping[Any, tuple[str, str, str, str]]

BLUE, ORANGE, GREEN, YELLOW, SKY, *_ = MODEL_COLOURS
PALE_BLUE = "#c9d9ec"
THRESHOLD: Mapping[str, Any] = {"color": MUTED, "lw": 1, "ls": "--"}
LEAST = 1e-17  # smaller deviations are drawn here, zero too
# By property, its title and the deviations that the statement allows.
PROPERTIES = {
    "asymmetry": ("Asymmetry (2.1.1)", (1e-3, 1e3)),
    "scaling": ("Proportional to scale (2.1.2)", (LEAST / 10, 1e-5)),
    "permutation": ("Order does not matter (2.1.3)", (LEAST / 10, 1e-5)),
}
COMBINATIONS = {
    ("b", "dot"): "dot product, values b\n(as the paper prints it)",
    ("a", "dot"): "dot product, values a",
    ("b", "cosine"): "cosine, values b",
    ("a", "cosine"): "cosine, values a",
}
MODES: Looks = {
    "paper": (BLUE, "", "-", "paper (smaller loss first)"),
    "harder": (ORANGE, "", "--", "harder loss first"),
    "uniform": (GREEN, "", ":", "equal weights"),
}
ENTROPIES: Looks = {
    "entropy_ct": (GREEN, "^", "-", "entropy of CT features"),
    "entropy_mr": (ORANGE, "s", "-", "entropy of MR features"),
    "information": (BLUE, "o", "-", "shared information"),
}
TERMS = {
    "complexity": ("Rademacher complexity", PALE_BLUE),
    "bound": ("bound on the gap", BLUE),
    "gap": ("measured gap", ORANGE),
}
DISTURBANCES: Looks = {
    "noise": (BLUE, "o", "-", "noise"),
    "bias field": (GREEN, "^", "-", "bias field"),
    "blur": (YELLOW, "D", "-", "blur"),
    "motion": (SKY, "v", "-", "motion"),
    "attack": (ORANGE, "X", "--", "attack (worst found)"),
}


def row_chart(tables: Tables, height: float, panels: Iterable[Panel]) -> str:
    """Draw panels side by side; empty where all their tables are missing."""
    shown = [panel for panel in panels if panel[0] in tables]
    if not shown:
        return ""

    def draw(figure: Figure) -> None:
        row = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, (table, title, draw_panel) in zip(row, shown, strict=True):
            draw_panel(axes, tables[table])
            axes.set_title(title[:1].upper() + title[1:])

    return svg(draw, (10, height))


def cost_chart(tables: Tables) -> str:
    """Draw operations and seconds over tokens, and operations over channels, with fitted exponents (Lemma 1)."""
    axes = (("operations", "tokens"), ("seconds", "tokens"), ("operations", "channels"))
    draw = partial(_costs, fits=tables.get("attention_cost_fits", pd.DataFrame()))
    panels = [("attention_cost", f"{y} over {x}", partial(draw, quantity=y, variable=x)) for y, x in axes]
    return row_chart(tables, 3.1, panels)


def approximation_chart(tables: Tables) -> str:
    """Draw the error on every known function over width and depth, and Dice while one case is learned (Th. 2.3)."""
    functions = sorted(set(tables["approximation"]["function"])) if "approximation" in tables else []
    panels = [("approximation", fill(name, 22), partial(_errors, function=name)) for name in functions]
    return row_chart(tables, 2.9, [*panels, ("overfitting", "overfitting one case", _overfitting)])


def lipschitz_chart(tables: Tables) -> str:
    """Draw the bound over the network's parts with the largest ratio measured, and growth of attention (Def. 6)."""
    measured = tables["power_iteration"]["ratio"].max() if "power_iteration" in tables else 0.0
    title, bounds = "Largest change of output over change of input", partial(_bounds, measured=measured)
    growth = ("attention_growth", "Sensitivity of one cross attention", _growth)
    return row_chart(tables, 3.5, [("sensitivity_bounds", title, bounds), growth])


def _lines(axes: Axes, rows: pd.DataFrame, x: str, y: str, by: str, looks: Looks, **settings: Any) -> None:
    """Draw a line per value of the column `by`."""
    for value, (colour, marker, line, label) in looks.items():
        own = rows[rows[by] == value].sort_values(x)
        if len(own):
            axes.plot(own[x], own[y], marker=marker, color=colour, ls=line, lw=1.8, ms=5, label=label)
    axes.set(**settings)
    if settings.get("xscale") == "log":
        axes.xaxis.set(major_formatter="{x:g}", minor_locator=LogLocator(subs=(2, 5)), minor_formatter="{x:g}")


def _deviations(axes: Axes, rows: pd.DataFrame, *, key: str, allowed: tuple[float, float]) -> None:
    """Draw a row of marks per combination; what the statement allows is tinted."""
    first, order = key == next(iter(PROPERTIES)), list(COMBINATIONS)
    for network, marker, face, offset, label in (
        ("trained", "o", BLUE, -0.14, "trained network, a mark per layer"),
        ("random", "s", "white", 0.14, "random features"),
    ):
        own = rows[(rows["property"] == key) & (rows["network"] == network)]
        kinds = zip(own["values"], own["similarity"], strict=True)
        places = [order.index(kind) + offset for kind in kinds]
        look: dict[str, Any] = {"ls": "", "marker": marker, "mfc": face, "mec": BLUE, "ms": 5, "mew": 0.9}
        axes.plot(own["deviation"].clip(lower=LEAST), places, label=label, **look)
    axes.axvspan(*allowed, color="#e3f3ea", lw=0, zorder=0)
    axes.set(xscale="log", xlim=(LEAST / 3, 30), ylim=(len(COMBINATIONS) - 0.4, -0.6))
    axes.set(xticks=[1e-16, 1e-12, 1e-8, 1e-4, 1], xlabel="relative difference")
    axes.set_yticks(range(len(COMBINATIONS)), COMBINATIONS.values() if first else [""] * len(COMBINATIONS))
    axes.grid(False, axis="y")
    if first:
        axes.figure.legend(loc="outside upper right", ncols=2, fontsize=8.5)


def _costs(axes: Axes, rows: pd.DataFrame, *, variable: str, quantity: str, fits: pd.DataFrame) -> None:
    """Draw a line per kind of attention; the other variable stays at the value that most rows have."""
    x, fixed = ("num_tokens", "channels") if variable == "tokens" else ("channels", "num_tokens")
    y, label = ("flops", "floating-point operations") if quantity == "operations" else ("seconds", "seconds")
    labels = {"full": "over all tokens", "windowed": "in windows"}
    for fit in fits.to_dict("records"):
        if (fit["variable"], fit["quantity"]) == (variable, quantity):
            labels[fit["kind"]] += f": exponent {fit['exponent']:.2f}"
    looks = {"full": (BLUE, "o", "-", labels["full"]), "windowed": (ORANGE, "s", "-", labels["windowed"])}
    usual = rows.groupby("kind")[fixed].transform(lambda column: column.mode().iloc[0])
    _lines(axes, rows[rows[fixed] == usual], x, y, "kind", looks, xscale="log", yscale="log", ylabel=label)
    axes.set(xlabel=f"number of {variable}", ymargin=0.25)
    axes.legend(loc="upper left")


def _errors(axes: Axes, rows: pd.DataFrame, *, function: str) -> None:
    own = rows[rows["function"] == function]
    depths = zip(sorted(set(own["depth"])), MODEL_COLOURS, MARKERS, strict=False)
    looks = {depth: (colour, marker, "-", f"depth {depth:g}") for depth, colour, marker in depths}
    _lines(axes, own, "channels", "error", "depth", looks, ylabel="error, in standard deviations")
    widths = sorted(set(own["channels"]))
    axes.set_xscale("log", base=2)
    axes.set_xticks(widths, [f"{width:g}" for width in widths])
    axes.set(xlabel="width, channels", ylim=(0, 1.15 * max(1.0, own["error"].max())))
    axes.axhline(1, label="a constant", **THRESHOLD)
    axes.legend()


def _overfitting(axes: Axes, rows: pd.DataFrame) -> None:
    axes.plot(rows["step"], rows["dice"], color=BLUE, lw=1.8, marker="o" if len(rows) < 12 else "", ms=4)
    axes.set(ylim=(0, 1.03), xlabel="training step", ylabel="mean Dice")
    axes.axhline(0.99, label="0.99", **THRESHOLD)
    axes.legend()


def _convergence(axes: Axes, rows: pd.DataFrame) -> None:
    shifted = rows.assign(step=rows["step"] + 1, distance=rows["distance"].clip(lower=1e-8))
    _lines(axes, shifted, "step", "distance", "mode", MODES, xscale="log", yscale="log", xlabel="step")
    axes.set_ylabel("distance to Pareto stationarity")
    axes.axhline(1e-3, label="converged below", **THRESHOLD)
    axes.legend()


def _weights(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the weights of all objectives but the last, which is the rest to 1."""
    for name, line in zip(rows["objective"].unique()[:-1], ("-", "--", ":", "-."), strict=False):
        looks = {mode: (colour, "", line, "") for mode, (colour, *_) in MODES.items()}
        _lines(axes, rows[rows["objective"] == name], "epoch", "weight", "mode", looks)
        axes.plot([], [], color=INK, ls=line, label=OBJECTIVES.get(name, name))
    axes.set(ylim=(0, 1), xlabel="epoch", ylabel="weight")
    axes.legend()


def _gradients(axes: Axes, rows: pd.DataFrame) -> None:
    places, colours = np.arange(len(rows)), [MODES[mode][0] for mode in rows["mode"]]
    axes.bar(places, rows["weighted_norm"], 0.6, color=colours)
    axes.hlines(rows["smallest_norm"], places - 0.4, places + 0.4, color=INK, lw=2, label="smallest possible")
    axes.set_xticks(places, rows["mode"])
    axes.set(ylim=(0, 1.3 * rows["weighted_norm"].max()), ylabel="norm of the weighted gradient")
    axes.legend(loc="upper right")


def _generalisation(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw a bar per positive term; on this axis others have none, but their number."""
    values = rows.set_index("term")["value"].reindex(list(TERMS)).dropna()
    titles, colours = zip(*(TERMS[term] for term in values.index), strict=True)
    left = min([0.01, *(value / 3 for value in values if value > 0)])
    bars = axes.barh(range(len(values)), values.clip(lower=left), 0.6, color=colours)
    axes.bar_label(bars, [f"{value:.3g}".replace("-", "−") for value in values], padding=4, fontsize=9)
    axes.set_yticks(range(len(values)), titles)
    axes.invert_yaxis()
    axes.axvline(1, **THRESHOLD)
    label = "of a loss between 0 and 1; right of the dashed line the bound says nothing"
    axes.set(xscale="log", xlim=(left, 8 * max(1.0, values.max())), xlabel=label)


def _entropies(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the information of quantised features beneath the entropies that bound it (Corollary 1)."""
    bound = rows[["entropy_ct", "entropy_mr"]].min(axis=1)
    axes.fill_between(rows["layer"], rows["information"], bound, color=LINES, alpha=0.6, lw=0)
    long = rows.melt(["layer"], list(ENTROPIES))
    _lines(axes, long, "layer", "value", "variable", ENTROPIES, ylabel="nats", ylim=(0, None))
    axes.set_xticks(rows["layer"], rows["name"], rotation=20, ha="right", rotation_mode="anchor")
    axes.grid(False, axis="x")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def _bounds(axes: Axes, rows: pd.DataFrame, *, measured: float) -> None:
    """Draw log10 of the cumulative bound, part by part, in the order of the computation."""
    places, last = np.arange(len(rows)), float(rows["log10_bound"].iloc[-1])
    label = f"at most, up to this part; in the end 10$^{{{last:.0f}}}$"
    axes.bar(places, rows["log10_bound"], 0.62, color=PALE_BLUE, ec=BLUE, lw=0.9, label=label)
    if measured > 0:
        label = f"largest measured for all parts: {measured:.3g}"
        axes.axhline(np.log10(measured), color=ORANGE, lw=2.2, label=label)
    axes.yaxis.set_major_formatter("10$^{{{x:.0f}}}$")
    axes.set_xticks(places, rows["part"], rotation=35, ha="right", rotation_mode="anchor")
    axes.set(ylabel="change out / change in", ylim=(None, 1.28 * max(1.0, last)))
    axes.legend(loc="upper left")


def _growth(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the sensitivity over the factor on the inputs, in the order of the check."""
    axes.plot(rows["scale"], rows["sensitivity"], "o-", color=BLUE, lw=1.8, ms=5)
    axes.set(xscale="log", yscale="log", xlabel="factor on the inputs", ylabel="output change / input change")
    # Of Definition 6: a sensitivity that grows beyond this many times its first value is not bounded.
    axes.axhline(10 * rows["sensitivity"].iloc[0], label="10 times the first value", **THRESHOLD)
    if rows["scale"].iloc[-1] < rows["scale"].iloc[0]:
        axes.invert_xaxis()
        axes.set_xlabel("factor on one key token")
    axes.legend()


def _levels(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the mean of every level; the undisturbed one is of the same cases, since not all are attacked."""
    clean = rows[rows["disturbance"] == "none"].set_index("case")["dice"]
    means = rows.groupby(["disturbance", "level"], as_index=False)[["dice"]].mean()
    cases = rows.groupby("disturbance")["case"].unique()
    starts = [(name, 0, clean.reindex(own).mean()) for name, own in cases.items()]
    means = pd.concat([pd.DataFrame(starts, columns=means.columns), means])
    _lines(axes, means, "level", "dice", "disturbance", DISTURBANCES, ylabel="mean Dice")
    axes.set(xticks=sorted(set(means["level"])), xlabel="level (0: undisturbed)")


def _sizes(axes: Axes, rows: pd.DataFrame) -> None:
    changed = rows[rows["disturbance"].isin(list(DISTURBANCES)) & (rows["input_change"] > 0)]
    if len(changed):
        colours = [DISTURBANCES[name][0] for name in changed["disturbance"]]
        axes.scatter(changed["input_change"], changed["dice"], s=9, c=colours, alpha=0.45, lw=0)
        means = changed.groupby(["disturbance", "level"], as_index=False)[["input_change", "dice"]].mean()
        _lines(axes, means, "input_change", "dice", "disturbance", DISTURBANCES, xscale="log")
    axes.axhline(rows.loc[rows["disturbance"] == "none", "dice"].mean(), label="undisturbed", **THRESHOLD)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set(xlabel="l2 norm of the change", ylabel="mean Dice")


PROPERTY_PANELS: Sequence[Panel] = [
    ("attention_properties", title, partial(_deviations, key=key, allowed=allowed))
    for key, (title, allowed) in PROPERTIES.items()
]
BALANCING_PANELS: Sequence[Panel] = [
    ("balancing_convex", "Convex problem", _convergence),
    ("balancing_weights", "Weights in training", _weights),
    ("balancing_gradients", "Trained network's gradients", _gradients),
]
ROBUSTNESS_PANELS: Sequence[Panel] = [
    ("robustness", "Dice over strength of the disturbance", _levels),
    ("robustness", "Dice over size of the change of the images", _sizes),
]
GENERALISATION_PANEL: Panel = ("generalisation", "Bound and measurement", _generalisation)
# By name; claims.html.jinja says what they show. A chart belongs to the claims of its name, or of GROUP_OF.
CHARTS: Mapping[str, Callable[[Tables], str]] = {
    "attention": partial(row_chart, height=3.1, panels=PROPERTY_PANELS),
    "cost": cost_chart,
    "approximation": approximation_chart,
    "flow": flow_chart,
    "entropy": partial(row_chart, height=2.7, panels=[("entropy", "", _entropies)]),
    "balancing": partial(row_chart, height=3.2, panels=BALANCING_PANELS),
    "generalisation": partial(row_chart, height=1.9, panels=[GENERALISATION_PANEL]),
    "lipschitz": lipschitz_chart,
    "robustness": partial(row_chart, height=3.3, panels=ROBUSTNESS_PANELS),
}
GROUP_OF = {"entropy": "flow"}
