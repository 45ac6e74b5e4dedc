import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.conditions import compare_modalities, modality_table
from pipeline.config.sections import CompareConfig
from tests.pipeline.comparison.conftest import Cases

FEW = CompareConfig(bootstrap_samples=300)
PAIR = np.array([[0.9, 0.88], [0.8, 0.82], [0.84, 0.86]])


def alone(cases: Cases, method: str = "crossmodalnet") -> pd.DataFrame:
    """From CT alone 0.05 less in every case, from MR alone 0.01 more."""
    views = {"ct_alone": PAIR - 0.05, "mr_alone": PAIR + 0.01}
    return pd.concat([cases(dice).assign(method=method, view=view) for view, dice in views.items()])


def test_every_view_has_its_means_and_its_paired_difference_to_the_pair(cases: Cases) -> None:
    methods = {"mednext": cases(PAIR - 0.3), "crossmodalnet": cases(PAIR)}
    table = modality_table(methods, alone(cases), FEW)
    assert set(table["method"]) == {"crossmodalnet"}
    dice = table[table["metric"] == "dice"].set_index("view")
    assert dice.index.tolist() == ["pair", "ct_alone", "mr_alone"]
    assert dice["mean"].tolist() == pytest.approx([0.85, 0.8, 0.86])
    changes = dice.loc[["ct_alone", "mr_alone"], ["difference", "difference_low", "difference_high"]]
    assert changes.astype(float).to_numpy() == pytest.approx(np.array([[-0.05] * 3, [0.01] * 3]))
    assert dice.loc["pair", ["difference", "difference_low"]].isna().all()
    distance = table[table["metric"] == "hd95_mm"].set_index("view")  # ten times what is missing from Dice
    assert float(distance.loc["ct_alone", "difference"]) == pytest.approx(0.5)


def test_a_score_that_is_nowhere_defined_has_no_row(cases: Cases) -> None:
    single = alone(cases)
    single.loc[single["view"] == "mr_alone", "hd95_mm"] = np.nan
    table = modality_table({"crossmodalnet": cases(PAIR)}, single, FEW)
    assert table[table["metric"] == "hd95_mm"]["view"].tolist() == ["pair", "ct_alone"]


def test_statements_say_what_mr_alone_is_scored_against(cases: Cases, tmp_path: Path) -> None:
    found = compare_modalities({"crossmodalnet": cases(PAIR)}, alone(cases), FEW)
    text = found.statements[0]["text"]
    assert text.startswith("CrossModalNet, one set of weights: Dice 0.850 [")
    assert "] from CT + MR; 0.800 [" in text
    assert "] from CT alone, 0.050 [0.050, 0.050] less; 0.860 [" in text
    assert text.endswith(
        "] from MR alone, 0.010 [0.010, 0.010] more (scored against the MR's own label, not against that "
        "of the CT)."
    )
    found.write(tmp_path)
    assert json.loads((tmp_path / "modality_statements.json").read_text("utf-8")) == found.statements
    assert len(pd.read_csv(tmp_path / "modalities.csv")) == 3 * 6
