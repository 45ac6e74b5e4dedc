import pandas as pd
import pytest

from pipeline.report.artefacts import gather
from pipeline.report.charts import BLUE, ORANGE
from pipeline.report.sections.ablations import ablation_chart, section
from pipeline.report.sections.comparison import TEST_COLUMNS
from tests.pipeline.report.conftest import num_marks


@pytest.mark.usefixtures("blank_charts")
def test_full_minus_ablation_and_dashes_for_an_ablation_that_was_not_tested(project):
    key = ("crossmodalnet", "crossmodalnet-no_cross")
    rows = [
        ("dice", *key, -0.012, -0.02, -0.004, 0.01, 0.02, -0.9, "supported"),
        ("hd95_mm", *key, 0.7, -0.1, 1.5, 0.1, 0.2, 0.5, "not_supported"),
    ]
    pd.DataFrame(rows, columns=list(TEST_COLUMNS)).to_csv(project / "comparison/pairwise.csv", index=False)
    content = section(gather(project))
    assert content["better"] == ["without cross attention"]
    full, no_cross, mr_only = content["table"].rows
    assert full[2:6] == ["–", "–", "–", "1.00"]
    differences = ["−0.012 (−0.020 to −0.004)", "0.02", "+0.7 (−0.1 to +1.5)"]
    assert [no_cross[0], *no_cross[2:5]] == ["without cross attention", *differences]
    assert [mr_only[0], *mr_only[2:5]] == ["MR only", "–", "–", "–"]
    cross, ct_stream = content["rows"]
    printed = [cross[key] for key in ("part", "dice", "hd95", "p")]
    assert printed == ["Cross attention", "−0.012", "+0.7", "0.02"]
    assert (cross["tested"], ct_stream["tested"]) == (True, False)


def test_gains_and_losses_of_parts_have_their_colours():
    nan = float("nan")
    means = {"dice": [0.1, -0.1, nan], "hd95_mm": [-2.0, -1.0, nan]}
    columns = ("difference", "low", "high")
    gains = {key: pd.DataFrame(dict.fromkeys(columns, m), index=list("abc")) for key, m in means.items()}
    chart = ablation_chart(gains, {"a": 1.2, "b": 0.9, "c": 1.0})
    assert [num_marks(chart, colour) for colour in (BLUE, ORANGE)] == [3, 1]
