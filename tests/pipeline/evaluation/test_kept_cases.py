from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.evaluation import kept_cases
from pipeline.evaluation.kept_cases import LABELS, SCORES, KeptCases, find_or_compute
from pipeline.runtime import paths

CPU = torch.device("cpu")
TABLE = pd.DataFrame({"pair": ["001", "001"], "dice": [0.1 + 0.2, np.nan], "missed": [0, 1]})


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeptCases:
    """Kept cases of a trained model, beside a label map to keep."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.safetensors").write_bytes(b"weights")
    (tmp_path / "labels.nii.gz").write_bytes(b"label map")
    return KeptCases(tmp_path / "model", CPU, "crossmodalnet")


def is_computed(folder: Path, labels: Path) -> bool:
    """Whether a case had to be computed; it is kept then."""
    calls: list[None] = []
    find_or_compute(folder, lambda: calls.append(None) or TABLE, labels)  # type: ignore[func-returns-value]
    return bool(calls)


def test_a_finished_case_comes_back_to_the_last_digit(kept: KeptCases, tmp_path: Path) -> None:
    folder, copy = kept.case("case", 0.5), tmp_path / "new/copy.nii.gz"
    assert is_computed(folder, tmp_path / "labels.nii.gz")
    pd.testing.assert_frame_equal(find_or_compute(folder, pytest.fail, copy), TABLE, check_exact=True)
    assert copy.read_bytes() == b"label map"
    assert sorted(file.name for file in folder.iterdir()) == [LABELS, SCORES]


def test_another_model_case_parameter_code_or_device_is_another_case(kept, tmp_path, monkeypatch) -> None:
    def case(device: torch.device = CPU) -> Path:
        return KeptCases(tmp_path / "model", device, "crossmodalnet").case("a", 0.5)

    folders = [case(), case(torch.device("cuda")), kept.case("b", 0.5), kept.case("a", 0.25)]
    (tmp_path / "model/weights.safetensors").write_bytes(b"others")
    folders.append(case())
    monkeypatch.setattr(kept_cases, "code_fingerprint", lambda stage, model: "another")
    folders.append(case())
    assert len(set(folders)) == len(folders)
    assert all(paths.TOP not in folder.parents for folder in folders)


def test_a_case_without_its_label_map_is_not_finished(kept: KeptCases, tmp_path: Path) -> None:
    assert is_computed(kept.case("case"), tmp_path / "labels.nii.gz")
    (kept.case("case") / LABELS).unlink()
    assert is_computed(kept.case("case"), tmp_path / "labels.nii.gz")


def test_an_evaluation_forgets_its_own_cases_and_no_others(kept: KeptCases, tmp_path: Path) -> None:
    # Two experiments that differ in a parameter of `evaluate` share the model, and run at the same time.
    second = KeptCases(tmp_path / "model", CPU, "crossmodalnet")
    assert is_computed(kept.case("case", 0.5), tmp_path / "labels.nii.gz")
    assert is_computed(second.case("case", 0.25), tmp_path / "labels.nii.gz")
    kept.forget()
    assert not kept.case("case", 0.5).exists()
    assert not is_computed(second.case("case", 0.25), tmp_path / "copy.nii.gz")
    second.forget()
    assert not second.folder.exists()
