from pathlib import Path

import pandas as pd
import pytest

from pipeline.report.artefacts import Artefacts, gather
from pipeline.report.charts import BLUE, ORANGE
from pipeline.report.sections.ablations import ablation_chart, section
from pipeline.report.sections.comparison import TEST_COLUMNS
from tests.pipeline.report.pictures import num_marks

OURS = "crossmodalnet"


@pytest.fixture
def example(project: Path) -> Artefacts:
    """Taking away cross attention helps; the CT stream was not tested."""
    rows = [
        ("dice", OURS, f"{OURS}-no_cross", -0.012, -0.02, -0.004, 0.01, 0.02, -0.9, "supported"),
        ("hd95_mm", OURS, f"{OURS}-no_cross", 0.7, -0.1, 1.5, 0.1, 0.2, 0.5, "not_supported"),
    ]
    pd.DataFrame(rows, columns=list(TEST_COLUMNS)).to_csv(project / "comparison/pairwise.csv", index=False)
    return gather(project)


@pytest.mark.usefixtures("blank_charts")
def test_table_shows_full_minus_ablation(example: Artefacts) -> None:
    content = section(example)
    assert content["better"] == ["without cross attention"]
    full, no_cross, mr_only = content["table"].rows
    assert full[2:6] == ["–", "–", "–", "1.00"]
    assert (no_cross[0], *no_cross[2:5]) == (
        "without cross attention", "−0.012 (−0.020 to −0.004)", "0.02", "+0.7 (−0.1 to +1.5)",
    )  # fmt: skip
    assert (mr_only[0], *mr_only[2:5]) == ("MR only", "–", "–", "–")


@pytest.mark.usefixtures("blank_charts")
def test_effect_of_a_part_that_was_not_tested_is_left_out(example: Artefacts) -> None:
    content = section(example)
    cross, ct_stream = content["rows"]
    printed = tuple(cross[key] for key in ("part", "dice", "hd95", "p"))
    assert printed == ("Cross attention", "−0.012", "+0.7", "0.02")
    assert (cross["tested"], ct_stream["tested"]) == (True, False)


def test_without_ablations_there_is_no_section(alone: Artefacts) -> None:
    assert section(alone) is None


def test_gains_and_losses_of_parts_have_their_colours() -> None:
    nan = float("nan")
    gains = {
        key: pd.DataFrame({"difference": means, "low": means, "high": means}, index=["a", "b", "c"])
        for key, means in {"dice": [0.1, -0.1, nan], "hd95_mm": [-2.0, -1.0, nan]}.items()
    }
    chart = ablation_chart(gains, {"a": 1.2, "b": 0.9, "c": 1.0})
    assert [num_marks(chart, colour) for colour in (BLUE, ORANGE)] == [3, 1]
