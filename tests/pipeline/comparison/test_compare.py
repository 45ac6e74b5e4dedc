import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError, UsageError
from pipeline.comparison.compare import Fold, compare, pool, read_revision, write_comparison
from pipeline.comparison.conditions import Conditions
from pipeline.config.sections import CompareConfig
from tests.pipeline.comparison.conftest import Cases, misregistered

FEW = CompareConfig(bootstrap_samples=200)


def test_all_files_are_written_the_same_each_time(tmp_path: Path, cases: Cases) -> None:
    dice = np.random.default_rng(0).uniform(0.5, 0.9, (5, 2))
    methods = {name: cases(dice - gap) for name, gap in (("vtunet", 0), ("mednext", 0.1), ("atlas", 0.3))}
    contents = []
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        write_comparison(tmp_path / run, compare(methods, "vtunet", FEW))
        contents.append({file.name: file.read_bytes() for file in (tmp_path / run).iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {
        "cases.csv", "scores.csv", "pairwise.csv", "all_pairs.csv", "ranks.csv", "table.csv", "table.tex",
        "plots.csv", "statements.json",
    }  # fmt: skip
    found = json.loads(contents[0]["statements.json"])
    assert {"metric", "text", "kind"} <= set.intersection(*(set(statement) for statement in found))
    assert {s["kind"] for s in found if s["metric"] == "dice"} == {"first", "underpowered"}
    assert len(pd.read_csv(tmp_path / "a/cases.csv")) == 3 * 5 * 2 * 7


def test_one_method_alone_has_nothing_to_say(tmp_path: Path, cases: Cases) -> None:
    found = compare({"vtunet": cases([[0.5], [0.6]])}, "vtunet", FEW)
    write_comparison(tmp_path, found)
    assert (found.pairs.statements, len(found.pairs.tables["pairwise.csv"])) == ([], 0)
    assert pd.read_csv(tmp_path / "pairwise.csv").columns[0] == "family"


def test_what_others_are_compared_with_must_be_there(cases: Cases) -> None:
    with pytest.raises(DataError, match="crossmodalnet was not evaluated"):
        compare({"vtunet": cases([[0.5]]), "crossmodalnet-cosine": cases([[0.5]])}, "vtunet", FEW)


def fold(cases: Cases, number: int, prefix: str) -> Fold:
    params = {"models": ["crossmodalnet", "mednext"], "compare": {"bootstrap_samples": 200}}
    params |= {"split": {"folds": 2, "fold": number}, "network": {"mednext": {"size": "small"}}}
    ours = cases([[0.8 + 0.01 * number], [0.7]], prefix).assign(method="crossmodalnet")
    theirs = ours.assign(method="mednext", dice=ours["dice"] - 0.1)
    return Fold(f"exp{number}", params, pd.concat([ours, theirs], ignore_index=True))


@pytest.fixture
def folds(cases: Cases) -> list[Fold]:
    return [fold(cases, 0, "a"), fold(cases, 1, "b")]


def test_pairs_of_all_folds_are_one_test_set(folds: list[Fold]) -> None:
    found = pool(folds)
    row = found.pairs.tables["pairwise.csv"].set_index("metric").loc["dice"]
    assert (row["num_pairs"], row["method_a"]) == (4, "crossmodalnet")
    assert row["difference"] == pytest.approx(0.1)
    means = found.pairs.tables["scores.csv"].set_index(["method", "structure", "metric"])["mean"]
    assert means["crossmodalnet", "mean", "dice"] == pytest.approx((0.8 + 0.7 + 0.81 + 0.7) / 4)
    assert found.pairs.statements[1]["kind"] == "note"
    assert found.folds == 2


def conditions(prefix: str, loss: float) -> Conditions:
    """What both methods lose at 5 mm on two pairs, MedNeXt 0.1 more."""
    rows = [
        (method, 0, f"{prefix}{pair}", shift, 0.8 - (loss + more) * shift / 5)
        for method, more in (("crossmodalnet", 0.0), ("mednext", 0.1))
        for pair in range(2)
        for shift in (0.0, 5.0)
    ]
    return Conditions(misregistered(rows), pd.DataFrame())


def test_what_was_measured_under_other_conditions_is_pooled_too(folds: list[Fold], caplog) -> None:
    first = folds[0]._replace(conditions=conditions("a", 0.1))
    second = folds[1]._replace(conditions=conditions("b", 0.2))
    found = pool([first, second]).misregistration
    row = found.tables["misregistration.csv"].set_index(["method", "moved_mm"]).loc[("mednext", 5.0)]
    assert (row["loss"], row["num_subjects"]) == (pytest.approx(0.25), 4)
    assert "note" in [statement["kind"] for statement in found.statements]
    assert pool([first, folds[1]]).misregistration is None
    assert "misregistration: 1 of 2 folds have no scores of it" in caplog.text


def test_folds_that_share_a_pair_are_refused(cases: Cases) -> None:
    with pytest.raises(DataError, match="a00 is tested in exp0 and in exp1"):
        pool([fold(cases, 0, "a"), fold(cases, 1, "a")])


def test_folds_with_other_parameters_are_refused(folds: list[Fold]) -> None:
    folds[1].params["network"]["mednext"]["size"] = "large"
    with pytest.raises(UsageError, match=r"exp1 differs from exp0 in network\.mednext\.size"):
        pool(folds)


def test_one_fold_is_nothing_to_pool(folds: list[Fold]) -> None:
    with pytest.raises(UsageError, match="at least two"):
        pool(folds[:1])


def test_a_missing_fold_is_reported(folds: list[Fold], caplog) -> None:
    for each in folds:
        each.params["split"]["folds"] = 3
    pool(folds)
    assert "split.fold 2 of 3 not among the revisions" in caplog.text


def test_revisions_are_read_without_a_checkout(tmp_path: Path, cases: Cases, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for key in ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL"):
        monkeypatch.setenv(f"GIT_{key}", "t@example.com")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    dvc = [sys.executable, "-m", "dvc"]
    run(["git", "init", "-q"], [*dvc, "init", "-q"])
    Path("params.yaml").write_text("models: [crossmodalnet]\nsplit: {folds: 2, fold: 1}\n")
    Path("comparison").mkdir()
    fold(cases, 1, "b").cases.to_csv("comparison/cases.csv", index=False)
    conditions("b", 0.1).misregistration.to_csv("comparison/misregistration_cases.csv", index=False)
    dvc_add, commit = [*dvc, "add", "-q", "comparison"], ["git", "commit", "-qm", "fold"]
    run(dvc_add, ["git", "add", "."], commit, ["git", "tag", "one"])
    Path("comparison/cases.csv").write_text("something else")
    found = read_revision("one")
    assert (found.number, len(found.cases)) == (1, 2 * 2 * 7)
    assert len(found.conditions.misregistration) == 2 * 2 * 2
    assert found.conditions.modalities.empty
    assert Path("comparison/cases.csv").read_text("utf-8") == "something else"
    with pytest.raises(DataError, match=r"params.yaml of nowhere cannot be read"):
        read_revision("nowhere")


def run(*commands: list[str]) -> None:
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
