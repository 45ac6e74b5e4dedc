import base64
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from pipeline.report.artefacts.audit_records import TABLES, Tables
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.audit.attention_figures import attention_chart, cost_chart
from pipeline.report.audit.bound_figures import lipschitz_chart, robustness_chart
from pipeline.report.audit.charts import group_charts
from pipeline.report.audit.flow_figures import entropy_chart, flow_chart
from pipeline.report.audit.learning_figures import approximation_chart, balancing_chart, generalisation_chart
from pipeline.report.audit.panels import BLUE, ORANGE, whisker

# Tables without any of which there is no chart.
NEEDED = {
    attention_chart: {"attention_properties"},
    cost_chart: {"attention_cost"},
    approximation_chart: {"approximation", "overfitting"},
    entropy_chart: {"entropy"},
    balancing_chart: {"balancing_convex", "balancing_weights", "balancing_gradients"},
    generalisation_chart: {"generalisation"},
    lipschitz_chart: {"sensitivity_bounds", "attention_growth"},
    robustness_chart: {"robustness"},
}


@pytest.fixture
def tables(artefacts: Artefacts) -> dict[str, pd.DataFrame]:
    return dict(artefacts.audits["crossmodalnet"].tables)


def elements(source: str, tag: str = "use") -> list[str]:
    """Styles of the elements of a picture that have one; markers are `use` elements."""
    tree = ElementTree.fromstring(base64.b64decode(source.partition(",")[2]))
    return [element.get("style", "") for element in tree.iter(f"{{http://www.w3.org/2000/svg}}{tag}")]


def num_marks(source: str, colour: str) -> int:
    return sum(f"fill: {colour}" in style for style in elements(source))


def num_hatched(source: str) -> int:
    return sum("url(#" in style for style in elements(source, "path"))


@pytest.mark.parametrize(("chart", "needed"), NEEDED.items())
def test_chart_is_left_out_with_its_tables_and_drawn_with_any(
    tables: dict[str, pd.DataFrame], chart: Callable[[Tables], str], needed: set[str]
) -> None:
    others = {name: table for name, table in tables.items() if name not in needed}
    assert chart(others) == ""
    for name in needed:
        assert chart({name: tables[name]}).startswith("data:image/svg+xml")


@pytest.mark.parametrize("name", ["information", "flow"])
def test_flow_chart_needs_both_of_its_tables(tables: dict[str, pd.DataFrame], name: str) -> None:
    assert flow_chart({key: table for key, table in tables.items() if key != name}) == ""


def test_layers_that_lose_information_are_hatched(tables: dict[str, pd.DataFrame]) -> None:
    flow = tables["flow"]
    rows = (flow["state"] == "trained") & (flow["layer"].isin([2, 5]))
    for values, expected in (((-0.3, -0.5, -0.1), 4), ((-0.3, -0.5, 0.1), 0), ((0.3, 0.1, 0.5), 0)):
        changed = flow.assign(cmif=0.5, low=0.4, high=0.6)
        changed.loc[rows, ["cmif", "low", "high"]] = values
        chart = flow_chart({**tables, "flow": changed})
        assert num_hatched(chart) == expected + 1  # two layers by two estimators; the legend


def test_information_has_a_mark_per_layer_state_pair_and_estimator(tables: dict[str, pd.DataFrame]) -> None:
    chart = flow_chart(tables)
    # registered pairs are filled: 7 layers by 2 estimators with two caps each, and the legend's; before training
    # 6 layers of flow too
    assert num_marks(chart, BLUE) == 3 * 14 + 1
    assert num_marks(chart, ORANGE) == 3 * (14 + 12) + 1


def test_every_deviation_is_a_mark_even_none_at_all(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["attention_properties"].assign(deviation=0.0)
    chart = attention_chart({"attention_properties": table})
    assert num_marks(chart, BLUE) == (table["network"] == "trained").sum() + 1


def test_cost_is_a_line_along_one_variable(tables: dict[str, pd.DataFrame]) -> None:
    chart = cost_chart(tables)
    # 5 numbers of tokens at 32 channels (operations and seconds), 4 numbers of channels at 512 tokens
    assert num_marks(chart, BLUE) == 5 + 5 + 4 + 3
    assert num_marks(chart, ORANGE) == num_marks(chart, BLUE)


def test_sensitivity_of_attention_grows_or_its_key_shrinks(tables: dict[str, pd.DataFrame]) -> None:
    growth = tables["attention_growth"]
    for table in (growth, growth.assign(scale=1 / growth["scale"])):
        assert num_marks(lipschitz_chart({"attention_growth": table}), BLUE) == len(growth)


def test_attack_on_some_cases_starts_from_their_own_dice(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("matplotlib.axes.Axes.plot", lambda *a, **k: drawn.append(a[1:3]) or [])
    rows = [("none", 0, "a", 0.9), ("none", 0, "b", 0.5), ("attack", 1, "a", 0.4)]
    table = pd.DataFrame(rows, columns=["disturbance", "level", "case", "dice"])
    robustness_chart({"robustness": table.assign(input_change=table["level"], output_change=1.0)})
    levels, dice = drawn[0]
    assert (levels, dice) == ([0, 1.0], [0.9, 0.4])


def test_gap_below_zero_is_drawn_on_the_logarithmic_axis() -> None:
    terms = pd.DataFrame({"term": ["complexity", "bound", "gap"], "value": [0.2, 1.7, -0.01]})
    assert generalisation_chart({"generalisation": terms}).startswith("data:")


def test_weights_of_three_objectives_are_all_drawn(tables: dict[str, pd.DataFrame]) -> None:
    weights = tables["balancing_weights"]
    third = weights[weights["objective"] == "dice"].assign(objective="topology")
    charts = [
        balancing_chart({"balancing_weights": table}) for table in (weights, pd.concat([weights, third]))
    ]
    lines = [base64.b64decode(chart.partition(",")[2]).decode().count('id="line2d_') for chart in charts]
    # 3 modes of 2 more objectives and what their legend names
    assert lines[1] - lines[0] >= 6


def test_unmeasured_values_leave_gaps(tables: dict[str, pd.DataFrame]) -> None:
    error = tables["approximation"]["error"].mask(tables["approximation"]["channels"] == 4)
    chart = approximation_chart({"approximation": tables["approximation"].assign(error=error)})
    assert chart.startswith("data:")


def test_error_bars_are_never_negative() -> None:
    below, above = whisker([1.0, 2.0], [0.5, 2.1], [1.25, 1.9])
    np.testing.assert_allclose([below, above], [[0.5, 0], [0.25, 0]])


def test_charts_are_the_same_every_time_and_use_every_table(tables: dict[str, pd.DataFrame]) -> None:
    assert flow_chart(tables) == flow_chart(tables)
    needed = set().union(*NEEDED.values(), {"information", "flow", "attention_cost_fits", "power_iteration"})
    assert needed == set(TABLES)


def test_pictures_say_what_they_show(tables: dict[str, pd.DataFrame]) -> None:
    (chart,) = group_charts("cost", tables)
    assert chart.alt.startswith("Operations and time")
    assert chart.caption
    assert group_charts("blocks", tables) == []
