import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from crossmodalnet.errors import DataError
from crossmodalnet.io.outputs import write_json
from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.theory.findings import CheckOutcome, StatementFinding, Verdict
from crossmodalnet.theory.statements import GROUPS, STATEMENTS
from pipeline.evaluation import run_audit as auditing
from pipeline.evaluation.run_audit import read_subject
from pipeline.training.params import read_params
from pipeline.training.processes import Processes
from pipeline.training.train_model import train_model

CPU = torch.device("cpu")


def outcomes() -> dict[str, CheckOutcome]:
    """A finding per statement, all holding with the same numbers, and one table."""
    numbers = {"deviation": 0.0123456, "rounding": -1.2e-16}
    found = {group: CheckOutcome([], {}) for group in GROUPS}
    for key, statement in STATEMENTS.items():
        found[statement.group].findings.append(StatementFinding(key, Verdict.HOLDS, "why", numbers))
    found["cost"].tables["cost"] = [{"x": 1.0, "y": "a"}, {"x": 2.5, "y": "b"}]
    return found


@pytest.fixture
def trained(cohort: Path, set_params) -> Path:
    """The tiny cohort with a test pair, and a model trained on it for an epoch."""
    read_subject.cache_clear()
    set_params(epochs=1)
    split = json.loads((cohort / "data/split.json").read_text("utf-8"))
    split["test"] = split["validation"]
    write_json(cohort / "data/split.json", split)
    train_model(read_params("crossmodalnet"), 0, Processes(0, 1, 1, CPU))
    return cohort


def test_findings_figures_and_tables_are_written(tmp_path: Path) -> None:
    findings = auditing.write_audit(tmp_path, "m", 3, outcomes())
    figures = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert list(figures) == list(findings) == list(STATEMENTS)
    assert figures["theorem_2_1_2"] == {"verdict": "holds", "deviation": 0.01235, "rounding": 0.0}
    content = json.loads((tmp_path / "findings.json").read_text("utf-8"))
    assert (content["model"], content["seed"]) == ("m", 3)
    assert [entry["key"] for entry in content["findings"]] == list(STATEMENTS)
    assert content["findings"][0]["verdict"] == "holds"
    assert pd.read_csv(tmp_path / "cost.csv").to_dict("list") == {"x": [1.0, 2.5], "y": ["a", "b"]}


def test_an_audit_that_is_off_lists_no_finding(tmp_path: Path) -> None:
    assert auditing.write_audit(tmp_path, "m", 3, {}) == {}
    assert json.loads((tmp_path / "figures.json").read_text("utf-8")) == {}


def test_a_statement_without_a_finding_is_an_error(tmp_path: Path) -> None:
    incomplete = outcomes()
    del incomplete["cost"]
    with pytest.raises(ValueError, match="lemma_1"):
        auditing.write_audit(tmp_path, "m", 3, incomplete)


def test_a_subject_is_the_trained_and_the_untrained_network_with_its_cases(trained: Path) -> None:
    subject = read_subject("crossmodalnet", 0, CPU)
    assert [case.name for case in subject.training] == ["a", "b", "c"]
    assert [case.name for case in subject.test] == ["d"]
    assert subject.images(subject.test).shape == (1, 2, 16, 16, 16)
    assert subject.config.channels == 6
    assert set(subject.curves) == {"loss_dice", "loss_ce", "weight_dice", "weight_ce"}
    name = "encoder.0.0.swin.0.0.attention.qkv.weight"
    assert not torch.equal(subject.network.get_parameter(name), subject.initial.get_parameter(name))


def test_the_untrained_network_is_the_one_that_training_began_with(trained: Path, set_params) -> None:
    set_params(epochs=1, lr=1e-12)
    train_model(read_params("crossmodalnet"), 0, Processes(0, 1, 1, CPU))
    subject = read_subject("crossmodalnet", 0, CPU)
    for name, parameter in subject.initial.named_parameters():
        torch.testing.assert_close(parameter, subject.network.get_parameter(name), atol=1e-8, rtol=1e-6)


def test_a_missing_file_is_reported(trained: Path) -> None:
    (trained / "curves/crossmodalnet/seed0.csv").unlink()
    with pytest.raises(DataError, match=r"curves/crossmodalnet/seed0\.csv .*dvc repro train"):
        read_subject("crossmodalnet", 0, CPU)
    with pytest.raises(DataError, match=r"models/crossmodalnet/seed1"):
        read_subject("crossmodalnet", 1, CPU)


def test_a_worker_needs_memory_by_the_patch(trained: Path, monkeypatch) -> None:
    # In place of the outcomes, give what the workers would need.
    monkeypatch.setattr(auditing, "run_cases", lambda function, tasks, work, runtime: [work.cost.bytes(0)])
    expected = 1200 * 2**20 + 8700 * 16**3  # patches of 16 x 16 x 16
    assert list(auditing.audit("crossmodalnet", 0, AuditConfig())) == [pytest.approx(expected, abs=1)]
