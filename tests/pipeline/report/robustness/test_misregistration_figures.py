import base64
from xml.etree import ElementTree

import pandas as pd
import pytest

from pipeline.report.artefacts.records import Artefacts
from pipeline.report.charts.drawing import MODEL_COLOURS, colour_of
from pipeline.report.robustness.misregistration_figures import misregistration_chart

SHIFTS = (0.0, 5.0, 10.0)


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        (method, shift, start - 0.01 * shift)
        for method, start in (("crossmodalnet", 0.9), ("mednext", 0.8), ("crossmodalnet-no_cross", 0.7))
        for shift in SHIFTS
    ]
    dice = pd.DataFrame(rows, columns=["method", "moved_mm", "dice"])
    return dice.assign(low=dice["dice"] - 0.02, high=dice["dice"] + 0.02)


def points(source: str, colour: str) -> int:
    """Count the markers and areas of a colour: `use` elements of the picture."""
    tree = ElementTree.fromstring(base64.b64decode(source.partition(",")[2]))
    uses = tree.iter("{http://www.w3.org/2000/svg}use")
    return sum(f"fill: {colour}" in use.get("style", "") for use in uses)


def test_a_line_has_a_point_per_shift_its_interval_and_an_entry_in_the_legend(
    artefacts: Artefacts, table: pd.DataFrame
) -> None:
    chart = misregistration_chart(artefacts.models, [], table)
    for name in ("crossmodalnet", "mednext"):
        assert points(chart, colour_of(artefacts.models, name)) == len(SHIFTS) + 2


def test_ablations_stand_beside_the_full_network_in_a_panel_of_their_own(
    artefacts: Artefacts, table: pd.DataFrame
) -> None:
    chart = misregistration_chart(artefacts.models, ["no_cross"], table)
    assert points(chart, colour_of(artefacts.models, "crossmodalnet")) == 2 * (len(SHIFTS) + 2)
    # MedNeXt in the first panel and the ablation in the second, which has no interval, have the second colour.
    assert points(chart, MODEL_COLOURS[1]) == 2 * len(SHIFTS) + 3


def test_a_network_that_was_not_measured_has_no_line(artefacts: Artefacts, table: pd.DataFrame) -> None:
    chart = misregistration_chart(artefacts.models, [], table[table["method"] == "crossmodalnet"])
    assert points(chart, colour_of(artefacts.models, "mednext")) == 0
