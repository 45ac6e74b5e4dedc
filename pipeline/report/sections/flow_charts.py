"""Chart of information flow: what CT and MR features share layer by layer, and what each layer adds (Def. 7)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pipeline.report.charts import BLUE, INK, ORANGE, svg, whisker

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
LOSS_HATCH, PALE, SHADE = "////", "#9db8d6", "#f3f5f8"


def flow_chart(tables: Mapping[str, pd.DataFrame]) -> str:
    """Draw I(l) over the layers, and CMIF(l) beneath, a column per estimator; empty where a table is missing."""
    if not {"information", "flow"} <= set(tables):
        return ""
    information, flow = tables["information"], tables["flow"]
    names = information.drop_duplicates("layer").set_index("layer")["name"].sort_index()
    decoder = names.index[names.str.contains("decoder")]

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, len(ESTIMATORS), sharex=True, sharey="row", height_ratios=(1.25, 1))
        for (above, below), (key, title) in zip(grid.T, ESTIMATORS.items(), strict=True):
            _information(above, information[information["estimator"] == key])
            _flow(below, flow[flow["estimator"] == key])
            above.set_title(f"Shared information I(l): {title}")
            below.set_title("What each layer adds: CMIF(l) = I(l) − I(l−1)")
            below.set_xticks(names.index, names, rotation=35, ha="right", rotation_mode="anchor")
            for axes in (above, below):
                if len(decoder):
                    axes.axvspan(decoder.min() - 0.5, decoder.max() + 0.5, color=SHADE, zorder=0, lw=0)
                axes.grid(False, axis="x")
        grid[0, 0].set_ylim(bottom=min(0.0, float(information["low"].min())))
        grid[0, 0].set_ylabel("I(CT; MR), nats")
        grid[1, 0].set_ylabel("CMIF, nats")
        loses = Patch(fc=PALE, ec=BLUE, hatch=LOSS_HATCH, label="layer loses information (95 %)")
        handles = [*grid[0, 0].get_legend_handles_labels()[0], loses, Patch(fc=SHADE, label="decoder")]
        figure.legend(handles=handles, loc="outside upper center", ncols=3)

    return svg(draw, (10, 6.6))


def _information(axes: Axes, rows: pd.DataFrame) -> None:
    for (state, pairs), (colour, marker, line, offset) in LOOKS.items():
        own = rows[(rows["state"] == state) & (rows["pairs"] == pairs)]
        thick = pairs == "registered"
        look = {"ls": line, "mfc": colour if thick else "white", "lw": 2 if thick else 1.1}
        label = f"{STATES[state]}, {PAIRS[pairs]}"
        _points(axes, own, "information", offset, colour, marker, label=label, **look)


def _flow(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw bars after training, hatched where the interval is below 0, and points before training."""
    trained, initial = (rows[rows["state"] == state] for state in STATES)
    for layer, added, high in trained[["layer", "cmif", "high"]].to_numpy(float):
        face, hatch = BLUE if added >= 0 else PALE, LOSS_HATCH if high < 0 else None
        axes.bar(layer - 0.12, added, 0.5, color=face, ec=BLUE, lw=0.8, hatch=hatch)
    _points(axes, trained, "cmif", -0.12, INK, "", ls="")
    _points(axes, initial, "cmif", 0.28, ORANGE, "s", ls="", ms=4.5)
    axes.axhline(0, color=INK, lw=0.9)


def _points(axes: Axes, rows: pd.DataFrame, y: str, offset: float, colour: str, marker: str, **look: Any) -> None:
    own = rows.sort_values("layer")
    around = whisker(own[y], own["low"], own["high"])
    look |= {"color": colour, "marker": marker, "elinewidth": 1, "capsize": 2.5}
    axes.errorbar(own["layer"] + offset, own[y], around, **look)
