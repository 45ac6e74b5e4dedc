from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.metrics.scores import METRICS
from pipeline.comparison.scores import by_subject, check_methods, group_of, read_methods, runs_of, score_table
from pipeline.config.sections import CompareConfig
from pipeline.config.variants import is_ablation, is_adaptation
from tests.pipeline.comparison.conftest import Cases, write_cases

FEW = CompareConfig(bootstrap_samples=200)


def test_the_mean_of_a_case_is_over_its_defined_structures(cases: Cases) -> None:
    table = cases([[0.2, 0.6], [0.8, 0.8]])
    table.loc[(table["pair"] == "p00") & (table["structure"] == "LV"), "dice"] = [np.nan, 1.3]
    # p00: seed 0 from six structures, seed 1 (6 x 0.6 + 1.3) / 7 = 0.7.
    assert by_subject(table, "dice").to_numpy() == pytest.approx(np.array([[0.2, 0.7], [0.8, 0.8]]))
    assert by_subject(table, "dice", "LV").loc["p00"].tolist() == pytest.approx([np.nan, 1.3], nan_ok=True)


def test_scores_have_means_over_subjects_and_seeds(cases: Cases) -> None:
    scores = score_table({"vtunet": cases([[0.2, 0.4], [0.6, 0.8], [0.5, 0.5]])}, FEW)
    assert len(scores) == (len(ABBREVIATIONS) + 1) * len(METRICS)
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


def test_all_runs_are_read_with_their_seeds(tmp_path: Path, cases: Cases) -> None:
    for name in ("crossmodalnet/seed3", "crossmodalnet/seed5", "atlas"):
        write_cases(tmp_path / name, cases([[0.8], [0.9]]))
    for seed in (3, 5):
        write_cases(tmp_path / f"crossmodalnet-ct_only/seed{seed}", cases([[0.7], [0.6]]))
    found = read_methods(runs_of(tmp_path, ["crossmodalnet"], ["ct_only"], [3, 5]))
    assert list(found) == ["crossmodalnet", "atlas", "crossmodalnet-ct_only"]
    assert sorted(found["crossmodalnet"]["seed"].unique()) == [3, 5]
    assert found["crossmodalnet-ct_only"]["dice"].mean() == pytest.approx(0.65)
    check_methods(found)


def test_groups_follow_from_names() -> None:
    names = ["swin_unetr", "atlas", "crossmodalnet-ct_only", "crossmodalnet-volumes", "volumes"]
    assert [group_of(name) for name in names] == ["model", "atlas", "ablation", "model", "model"]
    assert [is_ablation(name) for name in names] == [False, False, True, False, False]
    assert [is_adaptation(name) for name in names] == [False, False, False, True, False]


def test_a_missing_evaluation_or_metric_is_an_error(tmp_path: Path, cases: Cases) -> None:
    runs = runs_of(tmp_path, ["mednext"], [], [1])
    with pytest.raises(DataError, match=r"mednext/seed1/cases.csv not found"):
        read_methods(runs)
    write_cases(tmp_path / "mednext/seed1", cases([[0.5]]).drop(columns="betti_error"))
    with pytest.raises(DataError, match="lacks betti_error"):
        read_methods(runs)


def test_methods_must_be_scored_once_on_the_same_pairs(cases: Cases) -> None:
    with pytest.raises(DataError, match=r"b, seed 0: not scored on the pairs of the others \(p02\)"):
        check_methods({"a": cases([[0.5], [0.6]]), "b": cases([[0.5], [0.6], [0.7]])})
    with pytest.raises(DataError, match="a, seed 1: every pair needs a row"):
        check_methods({"a": cases([[0.5, 0.5]]).iloc[:-1]})
    with pytest.raises(DataError, match="a: a pair was scored twice"):
        check_methods({"a": pd.concat([cases([[0.5]])] * 2)})
    with pytest.raises(DataError, match="nothing to compare"):
        check_methods({})
