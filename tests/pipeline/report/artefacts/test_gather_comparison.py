from pathlib import Path

import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from pipeline.report.artefacts.comparison_records import ComparisonRecord, Difference
from pipeline.report.artefacts.gather_comparison import read_comparison


def test_difference_is_found_in_either_order() -> None:
    known = Difference(0.1, -0.2, 0.4, 0.03, 0.06, 0.5, "not_supported")
    comparison = ComparisonRecord({("dice", "a", "b"): known}, {}, pd.DataFrame(), [])
    assert comparison.difference("dice", "a", "b") == known
    turned = comparison.difference("dice", "b", "a")
    assert turned == Difference(-0.1, -0.4, 0.2, 0.03, 0.06, -0.5, "not_supported")
    assert comparison.difference("iou", "a", "b") is None


def test_families_of_tests_stay_apart(made: Path) -> None:
    found = read_comparison(made)
    dice = [(a, b) for metric, a, b in found.differences if metric == "dice"]
    ours = "crossmodalnet"
    assert dice == [(ours, "mednext"), (ours, "atlas"), (ours, f"{ours}-no_cross"), (ours, f"{ours}-mr_only")]
    assert list(found.all_pairs) == [
        ("dice", ours, "mednext"), ("dice", ours, "atlas"), ("dice", "mednext", "atlas"),
    ]  # fmt: skip
    families = {s.family for s in found.statements if s.kind == "underpowered"}
    assert families == {"models", "ablations"}


def test_what_was_measured_under_other_conditions_may_be_missing(project: Path) -> None:
    for name in ("misregistration", "modalities"):
        (project / f"comparison/{name}.csv").unlink()
    found = read_comparison(project)
    assert found.misregistration is None
    assert found.modalities is None


def test_misregistration_without_its_statements_is_refused(project: Path) -> None:
    (project / "comparison/misregistration_statements.json").unlink()
    with pytest.raises(
        DataError, match=r"misregistration_statements.json not found: run `dvc repro compare`"
    ):
        read_comparison(project)


@pytest.mark.parametrize("name", ["pairwise", "all_pairs"])
def test_unknown_verdict_is_refused(project: Path, name: str) -> None:
    path = project / f"comparison/{name}.csv"
    pd.read_csv(path).assign(verdict="perhaps").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"unknown verdict perhaps"):
        read_comparison(project)


@pytest.mark.parametrize("content", ["{}", "[1]", '[{"metric": "dice", "text": "a"}]'])
def test_statements_of_another_form_are_refused(project: Path, content: str) -> None:
    (project / "comparison/statements.json").write_text(content)
    with pytest.raises(DataError, match=r"must hold a list of objects with metric, text, kind"):
        read_comparison(project)
