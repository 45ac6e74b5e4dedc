"""An evaluation that was killed is gone on with, and ends with the same bytes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.evaluation import kept_cases
from pipeline.evaluation.kept_cases import LABELS, SCORES, KeptCases, find_case, find_or_compute, keep_case
from pipeline.runtime import paths

CPU = torch.device("cpu")
TABLE = pd.DataFrame({"pair": ["001", "001"], "dice": [0.1 + 0.2, np.nan], "missed": [0, 1]})


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.safetensors").write_bytes(b"weights")
    return tmp_path / "model"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.nii.gz"
    path.write_bytes(b"label map")
    return path


def test_a_finished_case_comes_back_to_the_last_digit(trained: Path, labels: Path, tmp_path: Path) -> None:
    folder = KeptCases(trained, CPU, "crossmodalnet").case("case", 0.5)
    copy = tmp_path / "new/copy.nii.gz"
    assert find_case(folder, copy) is None
    keep_case(folder, TABLE, labels)
    found = find_case(folder, copy)
    assert found is not None
    pd.testing.assert_frame_equal(found, TABLE, check_exact=True)
    assert copy.read_bytes() == labels.read_bytes()
    assert sorted(file.name for file in folder.iterdir()) == [LABELS, SCORES]


def test_another_model_case_parameter_code_or_device_is_another_case(trained: Path, monkeypatch) -> None:
    kept = KeptCases(trained, CPU, "crossmodalnet")
    folders = [kept.case("a", 0.5), kept.case("b", 0.5), kept.case("a", 0.25)]
    folders.append(KeptCases(trained, torch.device("cuda"), "crossmodalnet").case("a", 0.5))
    (trained / "weights.safetensors").write_bytes(b"others")
    folders.append(KeptCases(trained, CPU, "crossmodalnet").case("a", 0.5))
    monkeypatch.setattr(kept_cases, "code_fingerprint", lambda stage, model: "another")
    folders.append(KeptCases(trained, CPU, "crossmodalnet").case("a", 0.5))
    assert len(set(folders)) == len(folders)
    assert all(paths.TOP not in folder.parents for folder in folders)


def test_a_case_without_its_label_map_is_not_finished(trained: Path, labels: Path, tmp_path: Path) -> None:
    folder = KeptCases(trained, CPU, "crossmodalnet").case("case")
    keep_case(folder, TABLE, labels)
    (folder / LABELS).unlink()
    assert find_case(folder, tmp_path / "copy.nii.gz") is None


def test_an_evaluation_forgets_its_own_cases_and_no_others(trained: Path, labels: Path) -> None:
    # Two experiments that differ in a parameter of `evaluate` share the model, and run at the same time.
    first, second = KeptCases(trained, CPU, "crossmodalnet"), KeptCases(trained, CPU, "crossmodalnet")
    for kept, overlap in ((first, 0.5), (second, 0.25)):
        keep_case(kept.case("case", overlap), TABLE, labels)
    first.forget()
    assert find_case(first.case("case", 0.5)) is None
    assert find_case(second.case("case", 0.25)) is not None
    second.forget()
    assert not second.folder.exists()


def test_without_a_folder_a_case_is_computed() -> None:
    assert find_or_compute(None, lambda: TABLE) is TABLE
