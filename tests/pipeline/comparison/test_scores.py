import numpy as np
import pytest

from crossmodalnet.imaging.structures import ABBREVIATIONS
from pipeline.comparison.scores import by_subject, score_table
from pipeline.config.sections import CompareConfig
from tests.pipeline.comparison.conftest import Cases

FEW = CompareConfig(bootstrap_samples=200)


def test_the_mean_of_a_case_is_over_its_defined_structures(cases: Cases) -> None:
    table = cases([[0.2, 0.6], [0.8, 0.8]])
    lv = (table["pair"] == "p00") & (table["seed"] == 0) & (table["structure"] == "LV")
    table.loc[lv, "dice"] = np.nan
    table.loc[(table["pair"] == "p00") & (table["seed"] == 1) & (table["structure"] == "LV"), "dice"] = 1.3
    # p00: seed 0 from six structures, seed 1 (6 x 0.6 + 1.3) / 7 = 0.7.
    assert by_subject(table, "dice").to_numpy() == pytest.approx(np.array([[0.2, 0.7], [0.8, 0.8]]))
    assert by_subject(table, "dice", "LV").loc["p00"].tolist() == pytest.approx([np.nan, 1.3], nan_ok=True)


def test_scores_have_means_over_subjects_and_seeds(cases: Cases) -> None:
    scores = score_table({"vtunet": cases([[0.2, 0.4], [0.6, 0.8], [0.5, 0.5]])}, FEW)
    assert len(scores) == (len(ABBREVIATIONS) + 1) * 6
    assert ((scores["low"] <= scores["mean"]) & (scores["mean"] <= scores["high"])).all()
    dice = scores.set_index(["structure", "metric"]).loc[("RA", "dice")]
    assert dice[["mean", "num_subjects", "num_seeds"]].tolist() == pytest.approx([0.5, 3, 2])
    assert 0.2 <= dice["low"] < 0.5 < dice["high"] <= 0.8


def test_what_is_nowhere_defined_has_no_row(cases: Cases) -> None:
    table = cases([[0.5], [0.6]])
    table.loc[table["structure"] == "PA", "hd95_mm"] = np.nan
    scores = score_table({"atlas": table}, FEW)
    hd95 = scores[scores["metric"] == "hd95_mm"]["structure"].tolist()
    assert hd95 == [*ABBREVIATIONS[:-1], "mean"]
    assert set(scores["group"]) == {"atlas"}
