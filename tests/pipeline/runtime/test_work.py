from pathlib import Path

import pytest

from pipeline.config.sections import CropConfig
from pipeline.runtime.work import code_fingerprint, fingerprint, work_folder


def test_a_path_stands_for_its_content(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("same")
    b.write_text("same")
    assert fingerprint(a) == fingerprint(b)
    b.write_text("other")
    assert fingerprint(a) != fingerprint(b)


def test_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    before = fingerprint(tmp_path)
    (tmp_path / "y").write_text("2")
    assert fingerprint(tmp_path) != before


def test_parameters_matter() -> None:
    assert fingerprint(CropConfig()) == fingerprint(CropConfig(margin_mm=5.0))
    assert fingerprint(CropConfig()) != fingerprint(CropConfig(margin_mm=9.0))


def test_order_of_keys_does_not_matter() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def test_code_differs_by_stage_and_network() -> None:
    prints = {
        code_fingerprint(*stage)
        for stage in [("register",), ("crop",), ("train", "mednext"), ("train", "crossmodalnet")]
    }
    assert len(prints) == 4


def test_the_work_folder_is_that_of_the_parent_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert work_folder("train", "key") == tmp_path / ".work" / "train" / "key"
