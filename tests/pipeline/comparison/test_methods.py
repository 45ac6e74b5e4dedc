from pathlib import Path

import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from pipeline.comparison.scores import check_methods, group_of, read_methods, runs_of
from tests.pipeline.comparison.conftest import Cases


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
