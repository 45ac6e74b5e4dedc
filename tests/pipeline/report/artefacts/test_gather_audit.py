import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.theory.findings import Verdict
from crossmodalnet.theory.statements import STATEMENTS
from pipeline.report.artefacts.audit_records import TABLES
from pipeline.report.artefacts.gather_audit import read_audit


def change(project: Path, edit: Callable[[Any], object]) -> None:
    path = project / "audit/crossmodalnet/findings.json"
    content = json.loads(path.read_text("utf-8"))
    edit(content)
    path.write_text(json.dumps(content))


def test_findings_are_in_the_order_of_the_statements(project: Path) -> None:
    change(project, lambda content: content["findings"].reverse())
    audit = read_audit("crossmodalnet", project)
    assert list(audit.findings) == list(STATEMENTS)
    assert (audit.title, audit.seed, audit.applies) == ("CrossModalNet", 0, True)
    assert audit.findings["theorem_2_1_2"].verdict is Verdict.FAILS
    assert audit.findings["theorem_2_1_2"].numbers == {"largest_deviation": 0.3712, "scale": 2.0}


def test_counts_are_per_verdict_and_without_zeros(made: Path) -> None:
    counts = read_audit("crossmodalnet", made).counts
    assert list(counts) == [verdict for verdict in Verdict if verdict != Verdict.NOT_APPLICABLE]
    assert counts[Verdict.DEPARTS] == 1  # Definition 1 of the made-up audit
    assert sum(counts.values()) == len(STATEMENTS)


def test_network_that_nothing_applies_to_is_told(project: Path) -> None:
    def nothing(content: Any) -> None:
        content["findings"] = [{**f, "verdict": "not applicable"} for f in content["findings"]]

    change(project, nothing)
    assert not read_audit("crossmodalnet", project).applies


def test_all_tables_are_read_and_missing_ones_left_out(project: Path) -> None:
    assert set(read_audit("crossmodalnet", project).tables) == set(TABLES)
    (project / "audit/crossmodalnet/flow.csv").unlink()
    assert set(TABLES) - set(read_audit("crossmodalnet", project).tables) == {"flow"}


def test_table_without_rows_counts_as_missing(project: Path) -> None:
    path = project / "audit/crossmodalnet/overfitting.csv"
    path.write_text("step,dice\n")
    assert "overfitting" not in read_audit("crossmodalnet", project).tables


def test_names_that_look_like_numbers_stay_text(project: Path) -> None:
    path = project / "audit/crossmodalnet/sensitivity_bounds.csv"
    path.write_text("part,log10_bound\n1,2\n")
    assert read_audit("crossmodalnet", project).tables["sensitivity_bounds"]["part"].tolist() == ["1"]


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda c: c["findings"][0].update(key="theorem_9"), "unknown statement theorem_9"),
        (lambda c: c["findings"][0].update(verdict="perhaps"), "unknown verdict perhaps of definition_1"),
        (lambda c: c["findings"].pop(0), "lacks statements definition_1"),
        (lambda c: c["findings"][0].pop("why"), "lacks 'why'"),
        (lambda c: c["findings"][0].update(numbers={"a": "many"}), "many"),
        (lambda c: c["findings"][0].update(numbers={"a": float("nan")}), "must be finite"),
        (lambda c: c["findings"][0].update(numbers=3), "audit"),
        (lambda c: c["findings"][0].update(verdict="fails", breaks=""), "needs its broken step"),
        (lambda c: c.update(findings=3), "audit"),
        (lambda c: c.update(model="mednext"), "is of model mednext"),
        (lambda c: c.pop("seed"), "lacks 'seed'"),
    ],
)
def test_damaged_findings_are_refused(project: Path, edit: Callable[[Any], object], problem: str) -> None:
    change(project, edit)
    with pytest.raises(DataError, match=r"findings.json .*dvc repro --force audit") as error:
        read_audit("crossmodalnet", project)
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("step\n1\n", "lacks dice"),
        ("step,dice\n1,good\n", "dice must be numbers"),
        ("", "is not a table"),
    ],
)
def test_damaged_table_is_refused(project: Path, text: str, problem: str) -> None:
    (project / "audit/crossmodalnet/overfitting.csv").write_text(text)
    with pytest.raises(DataError, match=f"overfitting.csv.*{problem}.*dvc repro --force audit"):
        read_audit("crossmodalnet", project)


def test_unknown_word_in_a_table_is_refused(project: Path) -> None:
    path = project / "audit/crossmodalnet/flow.csv"
    pd.read_csv(path).assign(estimator="guess").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"flow.csv: unknown estimator guess"):
        read_audit("crossmodalnet", project)
