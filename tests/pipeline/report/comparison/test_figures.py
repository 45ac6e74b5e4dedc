import base64
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from pipeline.report.artefacts.comparison_records import Difference
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.charts.drawing import MODEL_COLOURS, colour_of
from pipeline.report.comparison.figures import ablation_chart, cost_chart, rank_chart


def num_points(source: str, colour: str) -> int:
    """Count the markers of a colour: `use` elements of the picture."""
    tree = ElementTree.fromstring(base64.b64decode(source.partition(",")[2]))
    uses = tree.iter("{http://www.w3.org/2000/svg}use")
    return sum(f"fill: {colour}" in use.get("style", "") for use in uses)


@pytest.mark.parametrize("name", ["crossmodalnet", "mednext", "atlas"])
def test_ranks_are_a_dot_per_measure_and_method(artefacts: Artefacts, name: str) -> None:
    chart = rank_chart(artefacts.results, artefacts.comparison.ranks)
    assert num_points(chart, colour_of(artefacts.results, name)) == 3


def test_unranked_method_has_no_dot(artefacts: Artefacts) -> None:
    ranks = artefacts.comparison.ranks.query("method != 'mednext'")
    chart = rank_chart(artefacts.results, ranks)
    assert num_points(chart, colour_of(artefacts.results, "mednext")) == 0


def test_network_without_defined_dice_is_not_drawn_against_its_costs(artefacts: Artefacts) -> None:
    first, second = artefacts.models
    chart = cost_chart([first, replace(second, estimates={})], artefacts.profiles)
    points = [num_points(chart, colour_of(artefacts.models, name)) for name in ("crossmodalnet", "mednext")]
    assert points[0] > points[1] == 1  # its entry in the legend


def test_gains_and_losses_of_parts_have_their_colours() -> None:
    def difference(mean: float) -> Difference:
        return Difference(mean, mean - 1, mean + 1, 0.1, 0.1, 0.5, "not_supported")

    gains = {
        "dice": {"a": difference(0.1), "b": difference(-0.1), "c": None},
        "hd95_mm": {"a": difference(-2.0), "b": difference(-1.0), "c": None},  # shorter is better
    }
    chart = ablation_chart(gains, {"a": 1.2, "b": 0.9, "c": 1.0})
    assert [num_points(chart, colour) for colour in MODEL_COLOURS[:2]] == [3, 1]
