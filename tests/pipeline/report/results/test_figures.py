import base64
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from pipeline.report.artefacts.records import Artefacts
from pipeline.report.charts.drawing import colour_of
from pipeline.report.results.figures import bar_chart, box_plot


def svg(source: str) -> str:
    head, _, content = source.partition(",")
    assert head == "data:image/svg+xml;base64"
    return base64.b64decode(content).decode()


def filled(source: str, colour: str) -> int:
    """Count the shapes filled with a colour."""
    shapes = ElementTree.fromstring(svg(source)).iter("{http://www.w3.org/2000/svg}path")
    return sum(f"fill: {colour}" in shape.get("style", "") for shape in shapes)


def test_bars_are_one_per_structure_and_mean_and_method(artefacts: Artefacts) -> None:
    chart = bar_chart(artefacts.results, ("hd95_mm",))
    for result in artefacts.results:
        assert filled(chart, colour_of(artefacts.results, result.name)) == 8 + 1  # and one in the legend


def test_undefined_structure_has_no_bar(artefacts: Artefacts) -> None:
    model = artefacts.results[0]
    known = {key: value for key, value in model.estimates.items() if key[1] != "PA"}
    results = [replace(model, estimates=known), artefacts.atlas]
    assert filled(bar_chart(results, ("dice",)), colour_of(results, model.name)) == 7 + 1


@pytest.mark.parametrize("key", ["dice", "hd95_mm"])
def test_boxes_show_undefined_cases_as_absent(artefacts: Artefacts, key: str) -> None:
    cases = artefacts.atlas.cases.copy()
    cases.loc[cases["structure"] == "AO", key] = np.nan
    chart = box_plot([replace(artefacts.atlas, cases=cases)], key)
    assert svg(chart) != svg(box_plot([artefacts.atlas], key))


def test_pictures_are_the_same_bytes_every_time_and_carry_no_date(artefacts: Artefacts) -> None:
    chart = bar_chart(artefacts.results, ("dice", "iou"))
    assert chart == bar_chart(artefacts.results, ("dice", "iou"))
    assert "dc:date" not in svg(chart)
