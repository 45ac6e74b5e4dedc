"""Whether DVC and git can work in this clone, as this user: what would stop the next command before any stage."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.doctor_finding import DoctorFinding

SECONDS = 120


def examine_clone(top: Path) -> Iterator[DoctorFinding]:
    """Look at git, DVC, the user and the places that are written."""
    yield from _git(top)
    yield from _places(top)
    yield from _dvc(top)


def _git(top: Path) -> Iterator[DoctorFinding]:
    git = shutil.which("git")
    yield DoctorFinding(
        "git", bool(git), git or "not found", "" if git else "install git, for instance `apt install git`"
    )
    if not git:
        return
    inside, said = run(["git", "-C", str(top), "rev-parse", "--git-dir"])
    remedy = "run from the top of a git clone; `dvc exp` needs git"
    if "dubious ownership" in said:
        remedy = f"the clone belongs to another user: git config --global --add safe.directory {top}"
    yield DoctorFinding("repository", inside, str(top), "" if inside else remedy)
    if not inside:
        return
    committed, _ = run(["git", "-C", str(top), "rev-parse", "HEAD"])
    if not committed:
        yield DoctorFinding(
            "repository", False, "no commit yet", "commit once: `dvc exp run` starts from a commit"
        )
    shallow, said = run(["git", "-C", str(top), "rev-parse", "--is-shallow-repository"])
    if shallow and said.strip() == "true":
        text = "a shallow clone: `dvc exp run --temp` and `--queue` run, and cannot record their results"
        yield DoctorFinding("repository", True, text, "git fetch --unshallow")
    _, status = run(["git", "-C", str(top), "ls-files", "--unmerged"])
    if status.strip():
        names = sorted({line.split("\t")[-1] for line in status.splitlines()})
        text = f"a merge is not finished: {', '.join(names[:5])}"
        yield DoctorFinding(
            "repository", False, text, "solve the conflicts and commit; dvc.lock is remade by `dvc repro`"
        )


def _places(top: Path) -> Iterator[DoctorFinding]:
    places = [top, *(top / name for name in (".dvc", ".dvc/tmp", ".work", "data") if (top / name).exists())]
    for place in places:
        if why := _unwritable(place):
            yield DoctorFinding(
                "folder",
                False,
                f"{place} cannot be written ({why})",
                "change its permissions, or move the clone",
            )
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        yield DoctorFinding(
            "folder",
            False,
            f"no temporary folder ({error.strerror})",
            "set TMPDIR to a folder that can be written",
        )
        return
    wanted = os.environ.get("TMPDIR")
    if wanted and Path(wanted).resolve() != temporary.resolve():
        text = f"TMPDIR = {wanted} cannot be used: {temporary} is"
        yield DoctorFinding("folder", True, text, "make that folder, or unset TMPDIR")


def _unwritable(place: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _dvc(top: Path) -> Iterator[DoctorFinding]:
    # The dvc of this very environment, whether or not it is on the PATH.
    beside = Path(sys.executable).with_name("dvc")
    dvc = str(beside) if beside.exists() else shutil.which("dvc")
    if not dvc:
        yield DoctorFinding("dvc", False, "not found", "pip install -c constraints.txt dvc")
        return
    if not (top / "dvc.yaml").exists():
        yield DoctorFinding("dvc", False, f"{top} has no dvc.yaml", "run from the top of the clone")
        return
    if _is_held(top / ".dvc/tmp/lock"):
        text = "another dvc command is at work in this clone"
        yield DoctorFinding("dvc", False, text, "wait until it has ended, or work in another clone")
        return
    # Reads dvc.yaml, params.yaml and dvc.lock, and asks for the user, as every command does before a stage runs.
    works, said = run([dvc, "stage", "list", "--name-only"], top)
    if works:
        yield DoctorFinding("dvc", True, dvc)
        return
    lines = [line.strip() for line in said.splitlines() if "ERROR" in line] or said.strip().splitlines()[-1:]
    text = f"dvc cannot work here: {' '.join(lines)[:300]}"
    remedy = "`dvc stage list` says the same; correct what it names"
    if "getpwuid" in said or "uid not found" in said:
        remedy = "nobody knows this user: set USER, or run the container with a user that has an entry in /etc/passwd"
    yield DoctorFinding("dvc", False, text, remedy)


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def run(command: list[str], cwd: Path | None = None) -> tuple[bool, str]:
    """Run a command; gives whether it ended well and all that it printed."""
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL,
            text=True, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return done.returncode == 0, done.stdout + done.stderr
