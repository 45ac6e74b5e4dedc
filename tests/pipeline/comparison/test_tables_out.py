import re

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.imaging.structures import ABBREVIATIONS
from pipeline.comparison.scores import score_table
from pipeline.comparison.tables import bar_table, escape, latex_table, plot_table, wide_table
from pipeline.config.sections import CompareConfig
from tests.pipeline.comparison.conftest import Cases


@pytest.fixture
def scores(cases: Cases) -> pd.DataFrame:
    dice = {"crossmodalnet": 0.8, "my_net": 0.9, "atlas": 0.5, "crossmodalnet-ct_only": 0.95}
    methods = {name: cases([[value - 0.1], [value]]) for name, value in dice.items()}
    return score_table(methods, CompareConfig(bootstrap_samples=200))


def test_a_row_per_method_and_a_column_per_metric(scores: pd.DataFrame) -> None:
    table = wide_table(scores).set_index("method")
    assert table.loc["my_net", ["dice", "dice_low", "dice_high", "dice_PA"]].tolist() == pytest.approx(
        [0.85, 0.8, 0.9, 0.85]
    )
    assert table.loc["atlas", "hd95_mm"] == pytest.approx(5.5)
    assert table.loc["atlas", ["num_subjects", "num_seeds"]].tolist() == [2, 1]


def test_bars_leave_ablations_out(scores: pd.DataFrame) -> None:
    bars = bar_table(scores)
    assert list(bars.columns) == ["structure", "method", "metric", "mean", "low", "high"]
    assert set(bars["method"]) == {"crossmodalnet", "my_net", "atlas"}
    plots = plot_table(scores)
    assert plots["structure"].tolist() == [name for name in (*ABBREVIATIONS, "mean") for _ in range(3)]
    assert plots["method"].tolist()[:3] == ["CrossModalNet", "my_net", "Atlas baseline"]
    assert plots.loc[0, ["dice", "iou_low", "assd_mm_high"]].tolist() == pytest.approx([0.75, 7 / 13, 1.5])


def test_latex_marks_the_best_model_and_not_the_ablation(scores: pd.DataFrame) -> None:
    text = latex_table(wide_table(scores))
    assert text.count(r"\textbf{0.850}") == 1 + 1 + 7  # Dice, NSD, Dice per structure
    assert r"\textbf{0.900}" not in text
    assert r"\textbf{1.5}" in text  # HD95 of my_net, the lowest of the models
    assert r"{\tiny [0.800, 0.900]}" in text
    assert "2 test pairs; each network trained with 1 seed." in text
    assert (
        text.index("Atlas baseline")
        < text.index(r"\midrule", text.index("Atlas baseline"))
        < text.index("CT only")
    )


def test_latex_is_balanced_and_escaped(scores: pd.DataFrame) -> None:
    text = latex_table(wide_table(scores))
    assert r"my\_net" in text
    assert text.count("{") == text.count("}")
    for environment in ("table*", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") > 0
    for columns, body in re.findall(r"\\begin\{tabular\}\{(l c*|lc*)\}(.*?)\\end\{tabular\}", text, re.S):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {line.count(" & ") + 1 for line in rows} == {len(columns)}


def test_special_characters_are_escaped() -> None:
    assert escape(r"a_b & 5% {x} \ ~") == r"a\_b \& 5\% \{x\} \textbackslash{} \textasciitilde{}"


def test_undefined_numbers_are_dashes_and_never_best(scores: pd.DataFrame) -> None:
    table = wide_table(scores)
    table.loc[table["method"] == "my_net", "hd95_mm"] = np.nan
    lines = latex_table(table).splitlines()
    row = next(line for line in lines if line.startswith(r"my\_net"))
    assert row.split(" & ")[3] == "--"
    assert r"\textbf{2.5}" in next(line for line in lines if line.startswith("CrossModalNet "))
