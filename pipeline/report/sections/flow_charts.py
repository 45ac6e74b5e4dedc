"""Chart of information flow: what CT and MR features share layer by layer, and what each layer adds (Def. 7)."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pipeline.report.charts import BLUE, INK, MUTED, ORANGE, svg, whisker

ESTIMATORS = {"copula": "Gaussian copula", "knn": "k nearest neighbours"}
# How states and pairs look: colour, marker, line, and place beside the layer's tick.
LOOKS = {
    ("trained", "registered"): (BLUE, "o", "-", -0.06),
    ("initial", "registered"): (ORANGE, "s", "--", 0.06),
    ("trained", "shuffled"): (BLUE, "o", ":", -0.02),
    ("initial", "shuffled"): (ORANGE, "s", ":", 0.02),
}
STATES = {"trained": "after training", "initial": "before training"}
PAIRS = {"registered": "registered pair", "shuffled": "different subjects"}
LOSS_HATCH, PALE = "////", "#9db8d6"


def flow_chart(tables: Mapping[str, pd.DataFrame]) -> str:
    """Draw I(l) over the layers, and CMIF(l) beneath, a column per estimator; empty where a table is missing."""
    if not {"information", "flow"} <= set(tables):
        return ""
    information, flow = tables["information"], tables["flow"]
    names = information.drop_duplicates("layer").set_index("layer")["name"].sort_index()

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, len(ESTIMATORS), sharex=True, sharey="row", height_ratios=(1.25, 1))
        for (above, below), (key, title) in zip(grid.T, ESTIMATORS.items(), strict=True):
            _information(above, information[information["estimator"] == key])
            _flow(below, flow[flow["estimator"] == key])
            above.set_title(f"Shared information I(l): {title}")
            below.set_title("What each layer adds: CMIF(l) = I(l) − I(l−1)")
            below.set_xticks(names.index, names, rotation=35, ha="right", rotation_mode="anchor")
            for axes in (above, below):
                _shade_decoder(axes, names.index[names.str.contains("decoder")].to_list())
                axes.grid(True, axis="y")
        grid[0, 0].set_ylim(bottom=min(0.0, float(information["low"].min())))
        grid[0, 0].set_ylabel("I(CT; MR), nats")
        grid[1, 0].set_ylabel("CMIF, nats")
        figure.legend(handles=_legend(), loc="outside upper center", ncols=3, fontsize=8.5)

    return svg(draw, (10, 6.6))


def _information(axes: Axes, rows: pd.DataFrame) -> None:
    for (state, pairs), (colour, marker, line, offset) in LOOKS.items():
        own = rows[(rows["state"] == state) & (rows["pairs"] == pairs)].sort_values("layer")
        thick = pairs == "registered"
        axes.errorbar(
            own["layer"] + offset, own["information"], whisker(own["information"], own["low"], own["high"]),
            color=colour, ls=line, marker=marker, ms=6 if thick else 4.5, mfc=colour if thick else "white",
            lw=2 if thick else 1.1, elinewidth=1, capsize=2.5 if thick else 0,
        )  # fmt: skip


def _flow(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw bars after training, hatched where the interval is below 0, and points before training."""
    trained, initial = (rows[rows["state"] == state].sort_values("layer") for state in STATES)
    for layer, added, high in trained[["layer", "cmif", "high"]].to_numpy(float):
        face, hatch = BLUE if added >= 0 else PALE, LOSS_HATCH if high < 0 else None
        axes.bar(layer - 0.12, added, 0.5, color=face, ec=BLUE, lw=0.8, hatch=hatch)
    for own, offset, colour, marker in ((trained, -0.12, INK, ""), (initial, 0.28, ORANGE, "s")):
        around = whisker(own["cmif"], own["low"], own["high"])
        axes.errorbar(
            own["layer"] + offset, own["cmif"], around,
            color=colour, ls="", marker=marker, ms=4.5, elinewidth=1, capsize=2.5,
        )  # fmt: skip
    axes.axhline(0, color=INK, lw=0.9)


def _shade_decoder(axes: Axes, layers: list[float]) -> None:
    """Tint the layers of the decoder, behind everything."""
    if layers:
        axes.axvspan(min(layers) - 0.5, max(layers) + 0.5, color="#f3f5f8", zorder=0, lw=0)
        axes.annotate(
            "decoder", (min(layers) - 0.45, 1), (0, -2), xycoords=("data", "axes fraction"),
            textcoords="offset points", va="top", fontsize=8, color=MUTED,
        )  # fmt: skip


def _legend() -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = []
    for (state, pairs), (colour, marker, line, _) in LOOKS.items():
        face = colour if pairs == "registered" else "white"
        label = f"{STATES[state]}, {PAIRS[pairs]}"
        handles.append(Line2D([], [], color=colour, marker=marker, ls=line, mfc=face, label=label))
    loses = Patch(fc=PALE, ec=BLUE, hatch=LOSS_HATCH, label="layer loses information (95 %)")
    return [*handles, loses]
