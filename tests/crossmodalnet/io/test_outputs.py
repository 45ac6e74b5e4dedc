import errno
import json
from pathlib import Path

import pytest

from crossmodalnet.io.outputs import remove_partial, whole_folder, write_json


def test_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "a.json", {"dice": {"mean": 0.5}})
    assert json.loads((tmp_path / "new" / "a.json").read_text("utf-8")) == {"dice": {"mean": 0.5}}
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.json"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite_and_the_old_file_stays(tmp_path: Path, value: float) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": value})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"x": 1}


def test_a_folder_replaces_the_old_one_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for name in ("a", "b"):
        with whole_folder(target) as new:
            (new / name).touch()
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")] == ["model", "model/b"]


def fill_half(target: Path) -> None:
    with whole_folder(target) as new:
        (new / "half").touch()
        raise RuntimeError


def test_a_folder_that_fails_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(RuntimeError):
        fill_half(target)
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")] == ["model", "model/old"]


def test_a_disk_that_is_full_from_the_start_leaves_no_folder_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, text: str) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"), whole_folder(tmp_path / "data"):
        pytest.fail("there is nothing to fill")
    assert list(tmp_path.iterdir()) == []


def test_a_replacement_that_was_interrupted_in_its_middle_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    rename = Path.rename

    def interrupted(self: Path, to: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(target) as new:
        (new / "new").touch()
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")] == ["model", "model/old"]


def test_what_a_run_killed_in_the_middle_of_a_replacement_left_is_put_back_by_the_next(
    tmp_path: Path,
) -> None:
    target, kept = tmp_path / "model", tmp_path / ".model.partial/old/file"
    kept.parent.mkdir(parents=True)
    kept.touch()
    with pytest.raises(RuntimeError):
        fill_half(target)
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")] == ["model", "model/file"]


def test_what_a_killed_process_left_is_removed_but_not_what_another_fills(tmp_path: Path) -> None:
    left, target = tmp_path / ".model.partial/new/half", tmp_path / "model"
    left.parent.mkdir(parents=True)
    left.touch()
    remove_partial(target)
    remove_partial(target)
    assert list(tmp_path.iterdir()) == []
    with whole_folder(target) as new:
        (new / "whole").touch()
        remove_partial(target)
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")] == ["model", "model/whole"]
