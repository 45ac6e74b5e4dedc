import json

import pandas as pd
import pytest

from pipeline.report.artefacts import gather
from pipeline.report.charts import MODEL_COLOURS, colour_of
from pipeline.report.sections.robustness import section, shift_chart, shift_table, view_table
from tests.pipeline.report.conftest import num_marks

NAN = float("nan")
SHIFTS = pd.DataFrame(
    [
        ("crossmodalnet", 0.0, 0.0, 0.9), ("crossmodalnet", 5.0, 10.0, 0.8),
        ("mednext", 0.0, 0.0, 0.95), ("mednext", 5.0, 10.0, 0.7),
        ("crossmodalnet-no_cross", 0.0, 0.0, 0.85), ("crossmodalnet-no_cross", 5.0, 10.0, 0.84),
    ],
    columns=["method", "moved_mm", "turned_degrees", "dice"],
).assign(low=0.6, high=0.97)  # fmt: skip
LOSSES = pd.DataFrame(
    [("crossmodalnet-no_cross", 0.01, 0.0, 0.02), ("crossmodalnet", 0.1, 0.05, 0.15)],
    columns=["method", "loss", "low", "high"],
)


def test_table_has_a_column_per_shift_and_the_mean_loss():
    table = shift_table(SHIFTS, LOSSES)
    assert table.headings == ["Method", "0 mm", "5 mm", "Lost from 5 mm on", "95 % interval"]
    assert table.rows == [
        ["CrossModalNet", "0.900", "0.800", "0.100", "0.050 to 0.150"],
        ["MedNeXt", "0.950", "0.700", "–", "–"],
        ["CrossModalNet (without cross attention)", "0.850", "0.840", "0.010", "0.000 to 0.020"],
    ]
    assert shift_table(SHIFTS, LOSSES.iloc[:0]).headings == ["Method", "0 mm", "5 mm"]


def test_line_has_a_point_per_shift_its_interval_and_an_entry_in_the_legend():
    models = ["crossmodalnet", "mednext"]
    chart = shift_chart(models, SHIFTS.iloc[:4])
    assert [num_marks(chart, colour_of(models, name)) for name in models] == [2 + 2, 2 + 2]


def test_ablations_have_a_panel_of_their_own_beside_the_full_network():
    chart = shift_chart(["crossmodalnet", "mednext"], SHIFTS)
    assert num_marks(chart, MODEL_COLOURS[0]) == 2 * (2 + 2)
    # MedNeXt, and the ablation, which has no interval, have the second colour.
    assert num_marks(chart, MODEL_COLOURS[1]) == (2 + 2) + (2 + 1)


@pytest.mark.usefixtures("blank_charts")
def test_what_stage_compare_says_is_shown_ablations_apart(project):
    statements = [
        {"metric": "misregistration_loss", "text": "least", "kind": "first"},
        {"metric": "misregistration_loss", "text": "part", "kind": "supported", "family": "ablations"},
    ]
    (project / "comparison/misregistration_statements.json").write_text(json.dumps(statements))
    content = section(gather(project))
    shifts = content["shifts"]
    assert [s["text"] for s in shifts["statements"]] == ["least"]
    assert [s["text"] for s in shifts["ablations"]] == ["part"]
    assert shifts["degrees"] == "10"
    methods = ["CrossModalNet", "MedNeXt", "CrossModalNet (without cross attention)"]  # not those of one stream
    assert [row[0] for row in shifts["table"].rows] == methods
    views = content["views"]["CrossModalNet"]
    assert views.rows[1][views.headings.index("Dice against CT + MR")] == "−0.030"


def test_nothing_is_shown_where_nothing_was_measured(project):
    for name in ("misregistration", "modalities"):
        (project / f"comparison/{name}.csv").unlink()
    assert section(gather(project)) is None


def test_views_have_a_row_each_with_their_difference_to_the_pair():
    rows = [
        ("pair", "dice", 0.9, 0.8, 0.95, NAN, NAN, NAN),
        ("pair", "hd95_mm", 4.0, 3.0, 5.0, NAN, NAN, NAN),
        ("ct_alone", "dice", 0.85, 0.7, 0.9, -0.05, -0.1, 0.01),
        ("mr_alone", "dice", 0.91, 0.7, 0.95, 0.01, -0.02, 0.04),
    ]
    columns = ["view", "metric", "mean", "low", "high", "difference", "difference_low", "difference_high"]
    table = view_table(pd.DataFrame(rows, columns=columns))
    assert table.headings[3:6] == ["MIoU", "HD95, mm", "NSD"]
    assert [(*row[:3], *row[-2:]) for row in table.rows] == [
        ("CT + MR", "0.900", "0.800 to 0.950", "–", "–"),
        ("CT alone", "0.850", "0.700 to 0.900", "−0.050", "−0.100 to +0.010"),
        ("MR alone", "0.910", "0.700 to 0.950", "+0.010", "−0.020 to +0.040"),
    ]
    assert [row[table.headings.index("HD95, mm")] for row in table.rows] == ["4.0", "–", "–"]
