import fcntl
import os
import subprocess

import pytest

from pipeline import doctor
from pipeline.config.params import Params, validate
from pipeline.doctor import Line, examine_clone, examine_data

ARCHIVE = {"source": "mmwhs", "urls": [{"url": "file:///no/such/a.zip", "sha256": 64 * "0"}]}


@pytest.fixture
def top(tmp_path, monkeypatch):
    folder = tmp_path / "clone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return folder


def faults(top, sections):
    return [found.text for found in examine_data(top, validate(Params, sections, "")) if not found.is_ok]


@pytest.mark.parametrize(
    ("file", "data", "says"),
    [
        ("data/raw/ct_train_1001_image.nii.gz", {"source": "mmwhs", "path": "data/raw"}, "is data/raw"),
        ("data/raw/mine.nii.gz", {}, "holds files that no stage wrote (mine.nii.gz)"),
        ("a.zip", {"source": "mmwhs", "path": "/no/such"}, "data.path not found: /no/such"),
        ("a.zip", {"source": "mmwhs", "path": ["a.zip", "b.zip"]}, "data.path not found: b.zip"),
        ("a.zip", {"source": "mmwhs"}, "neither data.path nor data.urls"),
        ("a.zip", {"source": "table"}, "data.path is not set"),
        ("own/x.nii", {"source": "mmwhs", "path": "own"}, "no file called like ct_train_1001_image.nii.gz"),
        ("own.txt", {"source": "mmwhs", "path": "own.txt"}, "neither a folder nor a zip archive"),
        ("own/x.nii", {"source": "table", "path": "own"}, "without dataset.json"),
        ("own.csv", {"source": "table", "path": "own.csv"}, "2 errors, the first: row 2: unknown modality 'pet'"),
        ("a.zip", ARCHIVE, "a.zip does not exist"),
    ],
)
def test_data_that_download_would_refuse(top, file, data, says):
    (top / file).parent.mkdir(parents=True, exist_ok=True)
    (top / file).write_text("patient,modality,image,label\nA,pet,x.nii,\n")
    found = faults(top, {"data": data})
    assert any(says in text for text in found), found


def test_missing_archive_of_the_target(top):
    (found,) = faults(top, {"adapt": {"enabled": True, "target": ARCHIVE}})
    assert found == "adapt.target.urls: file:///no/such/a.zip does not exist"


def test_sound_data_are_fine(top):
    (top / "own").mkdir()
    (top / "own/ct_train_1001_image.nii.gz").touch()
    params = validate(Params, {"data": {"source": "mmwhs", "path": "own"}}, "")
    assert [finding.is_ok for finding in examine_data(top, params)] == [True]


def git(top, *command):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, *command], cwd=top, check=True, capture_output=True)


def committed(top):
    git(top, "init", "-q")
    (top / "dvc.yaml").write_text("stages: {}\n")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "first")


def shallow(top):
    committed(top)
    git(top, "commit", "-qm", "second", "--allow-empty")
    full = top.rename(top.with_name("full"))
    git(top.parent, "clone", "-q", "--depth", "1", full.as_uri(), str(top))
    os.chdir(top)


def half_merged(top):
    committed(top)
    git(top, "tag", "first")
    for branch in ("other", "mine"):
        git(top, "checkout", "-qb", branch, "first")
        (top / "dvc.yaml").write_text(f"stages: {{a: {{cmd: {branch}}}}}\n")
        git(top, "commit", "-qam", branch)
    with pytest.raises(subprocess.CalledProcessError):
        git(top, "merge", "other")


def no_dvc_yaml(top):
    committed(top)
    (top / "dvc.yaml").unlink()


def let_dvc_say(monkeypatch, *answer):
    """What DVC says itself takes seconds, and is another test's."""
    run = doctor.run
    monkeypatch.setattr(doctor, "run", lambda c, cwd=None: run(c, cwd) if c[0] == "git" else answer)


@pytest.mark.parametrize(
    ("change", "is_ok", "remedy"),
    [
        (lambda _: None, False, "run from the top of a git clone"),
        (lambda top: git(top, "init", "-q"), False, "commit once"),
        (shallow, True, "git fetch --unshallow"),
        (half_merged, False, "solve the conflicts"),
        (no_dvc_yaml, False, "run from the top of the clone"),
    ],
)
def test_broken_clones(top, monkeypatch, change, is_ok, remedy):
    change(top)
    let_dvc_say(monkeypatch, True, "")
    found = [(finding.is_ok, finding.remedy) for finding in examine_clone(top)]
    assert any(ok == is_ok and remedy in text for ok, text in found), found


def test_running_dvc_is_reported(top):
    committed(top)
    (top / ".dvc/tmp").mkdir(parents=True)
    with (top / ".dvc/tmp/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = [finding.text for finding in examine_clone(top) if not finding.is_ok]
    assert found == ["another dvc command is at work in this clone"]


def test_unwritable_folder_is_reported(top, monkeypatch):
    committed(top)
    (top / ".work").mkdir()
    monkeypatch.setattr(doctor, "_unwritable", lambda place: "Read-only" if place.name == ".work" else None)
    monkeypatch.setattr(doctor, "_dvc", lambda _: Line("dvc", True, ""))
    (found,) = [finding for finding in examine_clone(top) if not finding.is_ok]
    assert ".work cannot be written (Read-only)" in found.text


def test_marks_of_a_merge_conflict_name_the_file(top):
    committed(top)
    (top / "dvc.lock").write_text("schema: '2.0'\n<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> theirs\n")
    (found,) = [finding for finding in examine_clone(top) if not finding.is_ok]
    assert "dvc.lock" in found.text
    assert "dvc repro" in found.remedy


NOBODY = "ERROR: unexpected error - 'getpwuid(): uid not found: 12345'"


@pytest.mark.parametrize(("said", "remedy"), [(NOBODY, "set USER"), ("ERROR: bad YAML", "stage list")])
def test_errors_of_dvc_are_reported(top, monkeypatch, said, remedy):
    committed(top)
    let_dvc_say(monkeypatch, False, said)
    (found,) = [finding for finding in examine_clone(top) if not finding.is_ok]
    assert said in found.text
    assert remedy in found.remedy
