import errno
import json
from pathlib import Path

import pytest

from crossmodalnet.io.outputs import remove_partial, whole_folder, write_json


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite_and_the_old_file_stays(tmp_path: Path, value: float) -> None:
    path = tmp_path / "new" / "a.json"
    write_json(path, {"dice": {"mean": 0.5}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"x": value})
    assert json.loads(path.read_text("utf-8")) == {"dice": {"mean": 0.5}}
    assert names_in(tmp_path) == ["new", "new/a.json"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/old").touch()
    return tmp_path / "model"


def test_a_folder_replaces_the_old_one_when_it_is_complete(model: Path) -> None:
    with whole_folder(model) as new:
        (new / "b").touch()
    assert names_in(model.parent) == ["model", "model/b"]


def fill_half(target: Path) -> None:
    with whole_folder(target) as new:
        (new / "half").touch()
        raise RuntimeError


def test_a_folder_that_fails_leaves_the_old_one_and_nothing_else(model: Path) -> None:
    with pytest.raises(RuntimeError):
        fill_half(model)
    assert names_in(model.parent) == ["model", "model/old"]


def test_full_disk_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, text: str) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"), whole_folder(tmp_path / "data"):
        pytest.fail("there is nothing to fill")
    assert names_in(tmp_path) == []


def test_interrupted_replacement_is_undone(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def interrupted(self: Path, to: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(model) as new:
        (new / "new").touch()
    assert names_in(model.parent) == ["model", "model/old"]


def test_what_a_killed_replacement_left_is_put_back_by_the_next(tmp_path: Path) -> None:
    target, kept = tmp_path / "model", tmp_path / ".model.partial/old/file"
    kept.parent.mkdir(parents=True)
    kept.touch()
    with pytest.raises(RuntimeError):
        fill_half(target)
    assert names_in(tmp_path) == ["model", "model/file"]


def test_what_a_killed_process_left_is_removed_but_not_what_another_fills(tmp_path: Path) -> None:
    left, target = tmp_path / ".model.partial/new/half", tmp_path / "model"
    left.parent.mkdir(parents=True)
    left.touch()
    for _ in range(2):
        remove_partial(target)
    assert names_in(tmp_path) == []
    with whole_folder(target) as new:
        (new / "whole").touch()
        remove_partial(target)
    assert names_in(tmp_path) == ["model", "model/whole"]
