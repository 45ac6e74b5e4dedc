"""Charts of information flow: what CT and MR features share layer by layer (Def. 7), and what bounds it."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pipeline.report.artefacts.audit_records import ESTIMATORS, Tables
from pipeline.report.audit.panels import BLUE, GREEN, ORANGE, whisker
from pipeline.report.charts.drawing import INK, LINES, MUTED, svg

ESTIMATOR_TITLES = {"copula": "Gaussian copula", "knn": "k nearest neighbours"}
# How states and pairs look: colour, marker, line, and place beside the layer's tick.
LOOKS = {
    ("trained", "registered"): (BLUE, "o", "-", -0.06),
    ("initial", "registered"): (ORANGE, "s", "--", 0.06),
    ("trained", "shuffled"): (BLUE, "o", ":", -0.02),
    ("initial", "shuffled"): (ORANGE, "s", ":", 0.02),
}
STATE_TITLES = {"trained": "after training", "initial": "before training"}
LOSS_HATCH, PALE = "////", "#9db8d6"


def flow_chart(tables: Tables) -> str:
    """Draw I(l) over the layers, and CMIF(l) beneath, a column per estimator."""
    information, flow = tables.get("information"), tables.get("flow")
    if information is None or flow is None:
        return ""
    names = information.drop_duplicates("layer").set_index("layer")["name"].sort_index()

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, len(ESTIMATORS), sharex=True, sharey="row", height_ratios=(1.25, 1))
        for (above, below), estimator in zip(grid.T, ESTIMATORS, strict=True):
            _information(above, information[information["estimator"] == estimator])
            _flow(below, flow[flow["estimator"] == estimator])
            above.set_title(f"Shared information I(l): {ESTIMATOR_TITLES[estimator]}")
            below.set_title("What each layer adds: CMIF(l) = I(l) − I(l−1)")
            below.set_xticks(names.index, names, rotation=35, ha="right", rotation_mode="anchor")
            for axes in (above, below):
                _shade_decoder(axes, names)
                axes.grid(True, axis="y")
        above, below = grid[:, 0]
        above.set_ylim(bottom=min(0.0, float(information["low"].min())))
        above.set_ylabel("I(CT; MR), nats")
        below.set_ylabel("CMIF, nats")
        figure.legend(handles=_legend(), loc="outside upper center", ncols=3, fontsize=8.5)

    return svg(draw, (10, 6.6))


def entropy_chart(tables: Tables) -> str:
    """Draw the information of quantised features beneath the entropies that bound it (Corollary 1)."""
    entropy = tables.get("entropy")
    if entropy is None:
        return ""
    rows = entropy.sort_values("layer")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        bound = rows[["entropy_ct", "entropy_mr"]].min(axis=1)
        axes.fill_between(rows["layer"], rows["information"], bound, color=LINES, alpha=0.6, lw=0)
        for column, label, colour, marker in (
            ("entropy_ct", "entropy of CT features", GREEN, "^"),
            ("entropy_mr", "entropy of MR features", ORANGE, "s"),
            ("information", "shared information", BLUE, "o"),
        ):
            axes.plot(rows["layer"], rows[column], marker=marker, color=colour, label=label, lw=1.8, ms=5)
        axes.set_xticks(rows["layer"], rows["name"], rotation=20, ha="right", rotation_mode="anchor")
        axes.set_ylim(bottom=0)
        axes.set_ylabel("nats")
        axes.grid(True, axis="y")
        figure.legend(loc="outside right upper", fontsize=9, labelspacing=0.8)

    return svg(draw, (10, 2.7))


def _information(axes: Axes, rows: pd.DataFrame) -> None:
    for (state, pairs), (colour, marker, line, offset) in LOOKS.items():
        curve = rows[(rows["state"] == state) & (rows["pairs"] == pairs)].sort_values("layer")
        registered = pairs == "registered"
        value = curve["information"]
        axes.errorbar(
            curve["layer"] + offset, value, whisker(value, curve["low"], curve["high"]), color=colour, ls=line,
            marker=marker, ms=6 if registered else 4.5, mfc=colour if registered else "white",
            lw=2 if registered else 1.1, elinewidth=1, capsize=2.5 if registered else 0,
        )  # fmt: skip


def _flow(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw bars after training, hatched where the interval is below 0, and points before training."""
    trained, initial = (rows[rows["state"] == state].sort_values("layer") for state in STATE_TITLES)
    columns = (trained[column].to_numpy(float) for column in ("layer", "cmif", "high"))
    for layer, cmif, high in zip(*columns, strict=True):
        face, hatch = BLUE if cmif >= 0 else PALE, LOSS_HATCH if high < 0 else None
        axes.bar(layer - 0.12, cmif, 0.5, color=face, ec=BLUE, lw=0.8, hatch=hatch)
    for state, offset, colour, marker in ((trained, -0.12, INK, ""), (initial, 0.28, ORANGE, "s")):
        value = state["cmif"]
        axes.errorbar(
            state["layer"] + offset, value, whisker(value, state["low"], state["high"]), color=colour, ls="",
            marker=marker, ms=4.5, elinewidth=1, capsize=2.5,
        )  # fmt: skip
    axes.axhline(0, color=INK, lw=0.9)


def _shade_decoder(axes: Axes, names: "pd.Series[str]") -> None:
    """Tint the layers of the decoder, behind everything."""
    decoder = np.array([layer for layer, name in names.items() if "decoder" in str(name)], float)
    if len(decoder):
        axes.axvspan(decoder.min() - 0.5, decoder.max() + 0.5, color="#f3f5f8", zorder=0, lw=0)
        axes.annotate(
            "decoder", (decoder.min() - 0.45, 1), (0, -2), xycoords=("data", "axes fraction"),
            textcoords="offset points", va="top", fontsize=8, color=MUTED,
        )  # fmt: skip


def _legend() -> list[Line2D | Patch]:
    lines: list[Line2D | Patch] = [
        Line2D(
            [], [], color=colour, marker=marker, ls=line, mfc=colour if pairs == "registered" else "white",
            label=f"{STATE_TITLES[state]}, {'registered pair' if pairs == 'registered' else 'different subjects'}",
        )
        for (state, pairs), (colour, marker, line, _) in LOOKS.items()
    ]  # fmt: skip
    loses = Patch(fc=PALE, ec=BLUE, hatch=LOSS_HATCH, label="layer loses information (95 %)")
    return [*lines, loses]
