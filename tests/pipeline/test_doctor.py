import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import doctor
from pipeline.config.params import Params, validate
from pipeline.doctor import Line, examine_clone, examine_data

Change = Callable[[Path], dict[str, Any]]


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "clone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return folder


def touched(top: Path, *names: str) -> None:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"x")


def in_data_raw(top: Path) -> dict[str, Any]:
    touched(top, "data/raw/ct_train_1001_image.nii.gz")
    return {"source": "mmwhs", "path": "data/raw"}


def foreign(top: Path) -> dict[str, Any]:
    touched(top, "data/raw/mine.nii.gz")
    return {}


def without_names(top: Path) -> dict[str, Any]:
    touched(top, "own/scan.nii.gz")
    return {"source": "mmwhs", "path": "own"}


def a_text(top: Path) -> dict[str, Any]:
    touched(top, "own.txt")
    return {"source": "mmwhs", "path": "own.txt"}


def no_nnunet(top: Path) -> dict[str, Any]:
    touched(top, "own/scan.nii.gz")
    return {"source": "table", "path": "own"}


def bad_table(top: Path) -> dict[str, Any]:
    (top / "own").mkdir()
    (top / "own/hearts.csv").write_text("patient,modality,image\nA,pet,x.nii\n")
    return {"source": "table", "path": "own/hearts.csv"}


def lost_archive(top: Path) -> dict[str, Any]:
    url = (top / "a.zip").as_uri()
    return {"source": "mmwhs", "urls": [{"url": url, "sha256": 64 * "0"}]}


DATA: dict[str, tuple[Change, str]] = {
    "in data/raw": (in_data_raw, "is data/raw"),
    "files in data/raw": (foreign, "holds files that no stage wrote (mine.nii.gz)"),
    "no such path": (lambda _: {"source": "mmwhs", "path": "/no/such"}, "data.path not found: /no/such"),
    "one of two paths": (lambda t: (touched(t, "a.zip"), {"source": "mmwhs", "path": ["a.zip", "b.zip"]})[1],
                         "data.path not found: b.zip"),
    "no path": (lambda _: {"source": "mmwhs"}, "neither data.path nor data.urls"),
    "no table": (lambda _: {"source": "table"}, "data.path is not set"),
    "other names": (without_names, "holds no file called like ct_train_1001_image.nii.gz"),
    "no archive": (a_text, "neither a folder nor a zip archive"),
    "no nnU-Net folder": (no_nnunet, "without dataset.json"),
    "bad table": (bad_table, "2 error(s), the first: row 2: unknown modality 'pet'"),
    "no local archive": (lost_archive, "a.zip does not exist"),
}  # fmt: skip


@pytest.mark.parametrize("name", DATA)
def test_data_that_download_would_refuse(top: Path, name: str) -> None:
    change, says = DATA[name]
    params = validate(Params, {"data": change(top)}, "")
    found = [finding.text for finding in examine_data(top, params) if not finding.is_ok]
    assert any(says in text for text in found), found


def test_missing_archive_of_the_target(top: Path) -> None:
    adapt = {"enabled": True, "target": lost_archive(top)}
    params = validate(Params, {"adapt": adapt}, "")
    [found] = [finding.text for finding in examine_data(top, params) if not finding.is_ok]
    assert found.startswith("adapt.target.urls: ")
    assert found.endswith("a.zip does not exist")


def test_sound_data_are_fine(top: Path) -> None:
    touched(top, "own/ct_train_1001_image.nii.gz")
    params = validate(Params, {"data": {"source": "mmwhs", "path": "own"}}, "")
    assert [finding.is_ok for finding in examine_data(top, params)] == [True]


def git(top: Path, *command: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, *command], cwd=top, check=True, capture_output=True)


def committed(top: Path) -> None:
    git(top, "init", "-q")
    (top / "dvc.yaml").write_text("stages: {}\n")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "first")


def no_commit(top: Path) -> None:
    git(top, "init", "-q")


def shallow(top: Path) -> None:
    committed(top)
    git(top, "commit", "-qm", "second", "--allow-empty")
    shutil.rmtree(top / ".git/logs", ignore_errors=True)
    first = top.with_name("full")
    top.rename(first)
    git(top.parent, "clone", "-q", "--depth", "1", first.as_uri(), str(top))
    os.chdir(top)


def half_merged(top: Path) -> None:
    committed(top)
    git(top, "checkout", "-qb", "other")
    (top / "dvc.yaml").write_text("stages: {a: {cmd: b}}\n")
    git(top, "commit", "-qam", "b")
    git(top, "checkout", "-q", "-")
    (top / "dvc.yaml").write_text("stages: {a: {cmd: c}}\n")
    git(top, "commit", "-qam", "c")
    with pytest.raises(subprocess.CalledProcessError):
        git(top, "merge", "other")


def no_dvc_yaml(top: Path) -> None:
    committed(top)
    (top / "dvc.yaml").unlink()


CLONES: dict[str, tuple[Callable[[Path], None], bool, str]] = {
    "no repository": (lambda _: None, False, "run from the top of a git clone"),
    "no commit": (no_commit, False, "commit once"),
    "shallow": (shallow, True, "git fetch --unshallow"),
    "half merged": (half_merged, False, "solve the conflicts"),
    "no dvc.yaml": (no_dvc_yaml, False, "run from the top of the clone"),
}


@pytest.mark.parametrize("name", CLONES)
def test_broken_clones(top: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change, ok, remedy = CLONES[name]
    change(top)
    run = doctor.run
    # What DVC says itself takes seconds, and is another test's.
    monkeypatch.setattr(doctor, "run", lambda c, cwd=None: run(c, cwd) if c[0] == "git" else (True, ""))
    found = [(finding.is_ok, finding.remedy) for finding in examine_clone(top)]
    assert any(is_ok == ok and remedy in text for is_ok, text in found), found


def test_running_dvc_is_reported(top: Path) -> None:
    committed(top)
    (top / ".dvc/tmp").mkdir(parents=True)
    with (top / ".dvc/tmp/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = [finding.text for finding in examine_clone(top) if not finding.is_ok]
    assert found == ["another dvc command is at work in this clone"]


def test_unwritable_folder_is_reported(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(top)
    (top / ".work").mkdir()
    monkeypatch.setattr(doctor, "_unwritable", lambda place: "Read-only" if place.name == ".work" else None)
    monkeypatch.setattr(doctor, "_dvc", lambda _: Line("dvc", True, ""))
    [found] = [finding for finding in examine_clone(top) if not finding.is_ok]
    assert ".work cannot be written (Read-only)" in found.text


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("ERROR: unexpected error - 'getpwuid(): uid not found: 12345'", "set USER"),
        ("ERROR: bad YAML", "stage list"),
    ],
)
def test_errors_of_dvc_are_reported(
    top: Path, said: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(top)
    run = doctor.run
    monkeypatch.setattr(doctor, "run", lambda c, cwd=None: run(c, cwd) if c[0] == "git" else (False, said))
    [found] = [finding for finding in examine_clone(top) if not finding.is_ok]
    assert said in found.text
    assert remedy in found.remedy
