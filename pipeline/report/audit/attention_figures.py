"""Charts of cross attention: its three properties (Theorem 2.1) and what it costs (Lemma 1)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.report.artefacts.audit_records import Tables
from pipeline.report.audit.panels import BLUE, HOLDS, ORANGE, AuditPanel, log_axis, row_chart
from pipeline.report.charts.drawing import svg

# By property, how it is printed and the deviation at which its verdict turns, with the side that holds.
PROPERTIES = {
    "asymmetry": ("Asymmetry (2.1.1)", 1e-3, "above"),
    "scaling": ("Proportional to scale (2.1.2)", 1e-5, "below"),
    "permutation": ("Order does not matter (2.1.3)", 1e-5, "below"),
}
COMBINATIONS = {
    ("b", "dot"): "dot product, values b\n(as the paper prints it)",
    ("a", "dot"): "dot product, values a",
    ("b", "cosine"): "cosine, values b",
    ("a", "cosine"): "cosine, values a",
}
LEAST = 1e-17  # smaller deviations are drawn here, zero too
KINDS = {"full": (BLUE, "o", "over all tokens"), "windowed": (ORANGE, "s", "in windows")}


def attention_chart(tables: Tables) -> str:
    """Draw deviations of every combination and layer, a panel per property; what a statement allows is tinted."""
    table = tables.get("attention_properties")
    if table is None:
        return ""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(PROPERTIES), sharey=True)
        for axes, (key, (title, limit, side)) in zip(panels, PROPERTIES.items(), strict=True):
            _deviations(axes, table[table["property"] == key])
            axes.axvspan(
                *((limit, 1e3) if side == "above" else (LEAST / 10, limit)), color=HOLDS, lw=0, zorder=0
            )
            axes.set_xlim(LEAST / 3, 30)
            axes.set_xticks([1e-16, 1e-12, 1e-8, 1e-4, 1])
            axes.set_title(title)
            axes.set_xlabel("relative difference")
            axes.grid(True, axis="x")
        panels[0].set_yticks(range(len(COMBINATIONS)), list(COMBINATIONS.values()))
        panels[0].set_ylim(len(COMBINATIONS) - 0.4, -0.6)
        looks = (("trained network, a mark per layer", "o", BLUE), ("random features", "s", "white"))
        handles = [
            Line2D([], [], ls="", marker=marker, mfc=face, mec=BLUE, label=label)
            for label, marker, face in looks
        ]
        figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=8.5)

    return svg(draw, (10, 3.1))


def cost_chart(tables: Tables) -> str:
    """Draw operations and seconds over tokens, and operations over channels, with fitted exponents."""
    fits = tables.get("attention_cost_fits")

    def panel(variable: str, column: str, quantity: str, label: str, title: str) -> AuditPanel:
        def draw(axes: Axes, rows: pd.DataFrame) -> None:
            _costs(axes, rows, variable, column, _exponents(fits, variable, quantity))
            axes.set_ylabel(label)

        return AuditPanel("attention_cost", title, draw)

    panels = (
        panel("tokens", "flops", "operations", "floating-point operations", "Operations over tokens"),
        panel("tokens", "seconds", "seconds", "seconds", "Time over tokens"),
        panel("channels", "flops", "operations", "floating-point operations", "Operations over channels"),
    )
    return row_chart(tables, panels, 3.1)


def _deviations(axes: Axes, rows: pd.DataFrame) -> None:
    for place, (values, similarity) in enumerate(COMBINATIONS):
        chosen = rows[(rows["values"] == values) & (rows["similarity"] == similarity)]
        for network, marker, face, offset in (("trained", "o", BLUE, -0.14), ("random", "s", "white", 0.14)):
            found = chosen.loc[chosen["network"] == network, "deviation"].clip(lower=LEAST)
            axes.plot(found, np.full(len(found), place + offset), marker, mfc=face, mec=BLUE, ms=5, mew=0.9)
    axes.set_xscale("log")


def _exponents(fits: pd.DataFrame | None, variable: str, quantity: str) -> dict[str, str]:
    """Print the fitted exponents, by kind of attention."""
    if fits is None:
        return {}
    rows = fits[(fits["variable"] == variable) & (fits["quantity"] == quantity)]
    return {str(row.kind): f"exponent {row.exponent:.2f}" for row in rows.itertuples()}


def _costs(axes: Axes, rows: pd.DataFrame, variable: str, column: str, exponents: dict[str, str]) -> None:
    x, fixed = ("num_tokens", "channels") if variable == "tokens" else ("channels", "num_tokens")
    for kind, (colour, marker, label) in KINDS.items():
        of_kind = rows[rows["kind"] == kind]
        if of_kind.empty:
            continue
        # one line: the other variable stays at the value that most rows have
        line = of_kind[of_kind[fixed] == of_kind[fixed].mode().iloc[0]].sort_values(x)
        text = f"{label}: {exponents[kind]}" if kind in exponents else label
        axes.plot(line[x], line[column], marker=marker, color=colour, lw=1.8, ms=5, label=text)
    log_axis(axes.xaxis, axes.set_xscale)
    axes.set_yscale("log")
    axes.set_ymargin(0.25)
    axes.set_xlabel(f"number of {variable}")
    axes.legend(fontsize=8, loc="upper left")
