from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.artefacts import Artefacts
from pipeline.report.charts import colour_of
from pipeline.report.sections.results import bar_chart, box_plot, cases_section, result_groups
from tests.pipeline.report.pictures import num_marks, text_of


def test_bars_are_one_per_structure_and_mean_and_method(artefacts: Artefacts) -> None:
    chart = bar_chart(artefacts, ("hd95_mm",))
    for name in artefacts.methods:  # and one in the legend
        assert num_marks(chart, colour_of(artefacts.models, name), "path") == 8 + 1


def test_undefined_structure_has_no_bar(alone: Artefacts) -> None:
    scores = alone.scores.copy()
    scores.loc[("crossmodalnet", "dice", "PA")] = np.nan
    chart = bar_chart(replace(alone, scores=scores), ("dice",))
    assert num_marks(chart, colour_of(alone.models, "crossmodalnet"), "path") == 7 + 1


@pytest.mark.parametrize("key", ["dice", "hd95_mm"])
def test_structure_that_is_undefined_in_all_cases_has_no_box(alone: Artefacts, key: str) -> None:
    cases = alone.cases.copy()
    cases.loc[cases["structure"] == "AO", key] = np.nan
    charts = [text_of(box_plot(shown, key)) for shown in (alone, replace(alone, cases=cases))]
    assert charts[0].count("<path") > charts[1].count("<path")


def test_pictures_are_the_same_bytes_every_time_and_carry_no_date(alone: Artefacts) -> None:
    chart = bar_chart(alone, ("dice", "iou"))
    assert chart == bar_chart(alone, ("dice", "iou"))
    assert "dc:date" not in text_of(chart)


def test_table_has_a_group_per_structure_and_a_row_per_method(artefacts: Artefacts) -> None:
    groups = result_groups(artefacts)
    assert [group[0] for group in groups] == ["mean", "LV", "RV", "LA", "RA", "Myo", "AO", "PA"]
    assert [title for title, _ in groups[3][3]] == ["CrossModalNet", "MedNeXt", "Atlas baseline"]


@pytest.mark.usefixtures("blank_charts")
def test_every_case_has_its_mean_dice_and_hd95(alone: Artefacts) -> None:
    table = cases_section(alone)["table"]
    assert table.headings == [
        "Pair", "Dice: CrossModalNet", "Dice: Atlas baseline", "HD95, mm: CrossModalNet", "HD95, mm: Atlas baseline",
    ]  # fmt: skip
    assert [row[0] for row in table.rows] == sorted(alone.images)
    mean = alone.case_means("dice").loc["ct_1002+mr_1005", "atlas"]
    assert table.rows[1][2] == f"{mean:.3f}"
