from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from pipeline.comparison.scores import by_subject, check_methods, group_of, read_methods, runs_of, score_table
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


def write(folder: Path, table: pd.DataFrame) -> None:
    folder.mkdir(parents=True)
    table.drop(columns="seed").to_csv(folder / "cases.csv", index=False)


def test_groups_follow_from_names() -> None:
    names = ["swin_unetr", "atlas", "crossmodalnet-ct_only"]
    assert [group_of(name) for name in names] == ["model", "atlas", "ablation"]


def test_all_runs_are_read_with_their_seeds(tmp_path: Path, cases: Cases) -> None:
    for name in ("crossmodalnet/seed3", "crossmodalnet/seed5", "atlas"):
        write(tmp_path / name, cases([[0.8], [0.9]]))
    for seed in (3, 5):
        write(tmp_path / f"crossmodalnet-ct_only/seed{seed}", cases([[0.7], [0.6]]))
    found = read_methods(runs_of(tmp_path, ["crossmodalnet"], ["ct_only"], [3, 5]))
    assert list(found) == ["crossmodalnet", "atlas", "crossmodalnet-ct_only"]
    assert sorted(found["crossmodalnet"]["seed"].unique()) == [3, 5]
    assert found["crossmodalnet-ct_only"]["dice"].mean() == pytest.approx(0.65)
    check_methods(found)


def test_a_missing_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mednext/seed1/cases.csv cannot be read"):
        read_methods(runs_of(tmp_path, ["mednext"], [], [1]))


def test_an_evaluation_without_a_metric_is_refused(tmp_path: Path, cases: Cases) -> None:
    write(tmp_path / "mednext/seed0", cases([[0.5]]).drop(columns="betti_error"))
    with pytest.raises(DataError, match="lacks betti_error"):
        read_methods(runs_of(tmp_path, ["mednext"], [], [0]))


def test_methods_scored_on_other_pairs_are_refused(cases: Cases) -> None:
    ours, theirs = cases([[0.5], [0.6]]), cases([[0.5], [0.6], [0.7]])
    with pytest.raises(DataError, match=r"b, seed 0: not scored on the pairs of the others \(p02\)"):
        check_methods({"a": ours, "b": theirs})


def test_a_seed_that_lacks_a_row_is_refused(cases: Cases) -> None:
    with pytest.raises(DataError, match="a, seed 1: every pair needs a row"):
        check_methods({"a": cases([[0.5, 0.5]]).iloc[:-1]})


def test_rows_that_are_there_twice_are_refused(cases: Cases) -> None:
    with pytest.raises(DataError, match="a: a pair was scored twice"):
        check_methods({"a": pd.concat([cases([[0.5]])] * 2)})


def test_nothing_is_not_compared() -> None:
    with pytest.raises(DataError, match="nothing to compare"):
        check_methods({})
