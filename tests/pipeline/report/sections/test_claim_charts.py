import pandas as pd
import pytest

from pipeline.report.charts import BLUE, ORANGE
from pipeline.report.sections.claim_charts import CHARTS
from pipeline.report.sections.claims import read_audit
from pipeline.report.sections.flow_charts import flow_chart
from tests.pipeline.report.conftest import num_lines, num_marks

# Tables without any of which there is no chart.
NEEDED = {
    "attention": {"attention_properties"},
    "cost": {"attention_cost"},
    "approximation": {"approximation", "overfitting"},
    "entropy": {"entropy"},
    "balancing": {"balancing_convex", "balancing_weights", "balancing_gradients"},
    "generalisation": {"generalisation"},
    "lipschitz": {"sensitivity_bounds", "attention_growth"},
    "robustness": {"robustness"},
}


@pytest.fixture
def tables(artefacts):
    return dict(read_audit(artefacts, "crossmodalnet").tables)


@pytest.mark.parametrize(("name", "needed"), NEEDED.items())
def test_chart_is_left_out_with_its_tables_and_drawn_with_any(tables, name, needed):
    assert CHARTS[name]({key: table for key, table in tables.items() if key not in needed}) == ""
    for key in needed:
        assert CHARTS[name]({key: tables[key]}).startswith("data:image/svg+xml")


def test_layers_that_lose_information_are_hatched(tables):
    flow = tables["flow"]
    rows = (flow["state"] == "trained") & (flow["layer"].isin([2, 5]))
    for values, expected in (((-0.3, -0.5, -0.1), 4), ((-0.3, -0.5, 0.1), 0), ((0.3, 0.1, 0.5), 0)):
        changed = flow.assign(cmif=0.5, low=0.4, high=0.6)
        changed.loc[rows, ["cmif", "low", "high"]] = values
        chart = flow_chart({**tables, "flow": changed})
        assert num_marks(chart, "url(#", "path") == expected + 1  # two layers by two estimators; the legend


def test_every_deviation_is_a_mark_even_none_at_all(tables):
    table = tables["attention_properties"].assign(deviation=0.0)
    chart = CHARTS["attention"]({"attention_properties": table})
    assert num_marks(chart, BLUE) == (table["network"] == "trained").sum() + 1


def test_cost_is_a_line_along_one_variable(tables):
    chart = CHARTS["cost"](tables)
    # 5 numbers of tokens at 32 channels (operations and seconds), 4 numbers of channels at 512 tokens
    assert num_marks(chart, BLUE) == num_marks(chart, ORANGE) == 5 + 5 + 4 + 3


def test_sensitivity_of_attention_grows_or_its_key_shrinks(tables):
    growth = tables["attention_growth"]
    for table in (growth, growth.assign(scale=1 / growth["scale"])):
        assert num_marks(CHARTS["lipschitz"]({"attention_growth": table}), BLUE) == len(growth)


@pytest.mark.filterwarnings("ignore:No artists")  # as nothing is drawn
def test_attack_on_some_cases_starts_from_their_own_dice(monkeypatch):
    lines = []
    monkeypatch.setattr("matplotlib.axes.Axes.plot", lambda *a, **k: lines.append(a[1:3]) or [])
    rows = [("none", 0, "a", 0.9), ("none", 0, "b", 0.5), ("attack", 1, "a", 0.4)]
    table = pd.DataFrame(rows, columns=["disturbance", "level", "case", "dice"])
    CHARTS["robustness"]({"robustness": table.assign(input_change=table["level"], output_change=1.0)})
    assert [list(values) for values in lines[0]] == [[0, 1], [0.9, 0.4]]


def test_weights_of_all_objectives_but_the_last_are_drawn(tables):
    weights = tables["balancing_weights"]
    third = weights[weights["objective"] == "dice"].assign(objective="topology")
    shown = (weights, pd.concat([weights, third]))
    two, three = (CHARTS["balancing"]({"balancing_weights": table}) for table in shown)
    # 3 modes of one more objective, and its entry in the legend
    assert num_lines(three) - num_lines(two) >= 4
