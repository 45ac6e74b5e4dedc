"""An evaluation that was killed is gone on with, and ends with the same bytes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.evaluation.kept_cases import SCORES, KeptCases, kept_table

CPU = torch.device("cpu")
TABLE = pd.DataFrame({"pair": ["001", "001"], "dice": [0.1 + 0.2, np.nan], "missed": [0, 1]})


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.safetensors").write_bytes(b"weights")
    return tmp_path / "model"


def fail() -> pd.DataFrame:
    raise AssertionError("computed again")


def test_a_finished_case_is_not_computed_again_and_comes_back_to_the_last_digit(trained: Path) -> None:
    kept = KeptCases.of(trained, CPU)
    for compute in (lambda: TABLE, fail):
        found = kept_table(kept.case("case", 0.5), compute)
        pd.testing.assert_frame_equal(found, TABLE, check_exact=True)
    assert kept_table(None, lambda: TABLE) is TABLE


def test_another_model_case_parameter_or_device_is_another_case(trained: Path) -> None:
    kept = KeptCases.of(trained, CPU)
    folders = [kept.case("a", 0.5), kept.case("b", 0.5), kept.case("a", 0.25)]
    folders.append(KeptCases.of(trained, torch.device("cuda")).case("a", 0.5))
    (trained / "weights.safetensors").write_bytes(b"others")
    folders.append(KeptCases.of(trained, CPU).case("a", 0.5))
    assert len(set(folders)) == len(folders)


def test_what_fails_leaves_nothing_that_looks_finished(trained: Path) -> None:
    folder = KeptCases.of(trained, CPU).case("case")
    with pytest.raises(AssertionError):
        kept_table(folder, fail)
    assert not folder.exists()
    kept_table(folder, lambda: TABLE)
    assert [file.name for file in folder.iterdir()] == [SCORES]
    assert json.loads((folder / SCORES).read_text("utf-8"))["pair"] == ["001", "001"]


def test_nothing_is_left_of_an_evaluation_that_is_written(trained: Path) -> None:
    kept = KeptCases.of(trained, CPU)
    kept_table(kept.case("case"), lambda: TABLE)
    kept.forget()
    assert not kept.folder.exists()
