"""An undisturbed run of the smoke preset, and clones of the same commit to be disturbed."""

import hashlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.integration.conftest import Clone, make_clone

# What a run gives bit for bit; times, and what quotes them, are left out.
FOLDERS = ("data/raw", "data/registered", "data/cropped", "models", "evaluation", "metrics", "exported")
MARK = "CROSSMODALNET_STRESS"
# Stages to run, with all that they need; the whole pipeline where the variable is not set.
TARGETS = os.environ.get("STRESS_TARGETS", "").split()


def results(folder: Path) -> dict[str, str]:
    """Digest every file that an undisturbed run would give again."""
    files = [file for name in FOLDERS for file in sorted((folder / name).rglob("*")) if file.is_file()]
    files += folder.glob("data/split.json")
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@dataclass
class Run:
    """A `dvc repro` under way, with the moments at which its stages began."""

    process: "subprocess.Popen[str]"
    began: dict[str, float] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)

    def follow(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.text.append(line)
                if match := re.match(r"Running stage '([^']+)'", line):
                    self.began[match[1]] = time.monotonic()


def start(clone: Clone, mark: str, tmp: Path, **more: str) -> tuple[Run, threading.Thread]:
    environment = {**clone.environment(), "TMPDIR": str(tmp), MARK: mark, "PYTHONUNBUFFERED": "1", **more}
    process = subprocess.Popen(
        clone.command("dvc", "repro", *TARGETS), cwd=clone.folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    run = Run(process)
    thread = threading.Thread(target=run.follow, daemon=True)
    thread.start()
    return run, thread


def left_running(mark: str, seconds: float = 15) -> list[str]:
    """Name the processes with our mark that are still there after a while."""
    end = time.monotonic() + seconds
    while True:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.2)


@dataclass(frozen=True)
class Reference:
    """What an undisturbed run gave: stages in their order with their seconds, and digests."""

    clone: Clone
    seconds: dict[str, float]
    digests: dict[str, str]


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Clone]:
    """Make a clone with the smoke preset, in which nothing has run."""
    return lambda name: make_clone(tmp_path_factory.mktemp(name) / "project")


@pytest.fixture(scope="session")
def undisturbed(fresh: Callable[[str], Clone], tmp_path_factory: pytest.TempPathFactory) -> Reference:
    clone = fresh("undisturbed")
    run, thread = start(clone, "undisturbed", tmp_path_factory.mktemp("tmp"))
    assert run.process.wait() == 0, "".join(run.text[-20:])
    end = time.monotonic()
    thread.join()
    moments = [*run.began.values(), end]
    seconds = {name: moments[i + 1] - moments[i] for i, name in enumerate(run.began)}
    return Reference(clone, seconds, results(clone.folder))
