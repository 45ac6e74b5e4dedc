"""Disk, memory and permissions taken away from each stage: one line, an exit code, and nothing lost."""

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.stress.conftest import Reference, results

pytestmark = pytest.mark.stress
MODEL = ("--model", "crossmodalnet")
SEEDED = (*MODEL, "--seed", "0")
STAGES: dict[str, tuple[str, ...]] = {
    "check": (), "download": (), "register": (), "split": (), "crop": (), "target": (), "train": SEEDED,
    "evaluate": SEEDED, "atlas": (), "profile": MODEL, "audit": SEEDED, "export": SEEDED, "compare": (), "report": (),
}  # fmt: skip


@pytest.fixture
def copy(undisturbed: Reference, tmp_path: Path) -> Path:
    """The finished clone once more, its resumable work gone, so that each stage has all to do."""
    folder = tmp_path / "project"
    shutil.copytree(undisturbed.clone.folder, folder, symlinks=True)
    shutil.rmtree(folder / ".work")
    return folder


Stage = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def stage(undisturbed: Reference, copy: Path) -> Stage:
    """Run a stage in the copy, under a limit of a resource and behind a command where they are given."""

    def run(name: str, before: Sequence[str] = (), **limit: int) -> "subprocess.CompletedProcess[str]":
        def lower() -> None:
            for kind, value in limit.items():
                resource.setrlimit(getattr(resource, kind), (value, value))

        command = [*before, *undisturbed.clone.command("python", "-m", "stages", name, *STAGES[name])]
        environment = {**undisturbed.clone.environment(), "PYTHONDONTWRITEBYTECODE": "1"}
        kept = {"cwd": copy, "env": environment, "text": True, "capture_output": True}
        return subprocess.run(command, preexec_fn=lower, check=False, **kept)

    return run


@pytest.mark.parametrize("name", STAGES)
def test_no_room_on_the_disk(stage: Stage, copy: Path, name: str) -> None:
    """A limit on the size of files fails where a full disk fails, in the same calls."""
    before = results(copy)
    done = stage(name, RLIMIT_FSIZE=1)
    assert done.returncode == 4, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1
    assert "no room on the disk" in done.stderr
    assert results(copy) == before


@pytest.mark.parametrize("name", STAGES)
def test_too_little_memory(stage: Stage, copy: Path, name: str) -> None:
    """The address space is cut to what the stage needs at least for its imports; it ends in order or does its work."""
    before = results(copy)
    done = stage(name, RLIMIT_AS=2**30)
    if done.returncode == 0:
        assert results(copy).keys() >= before.keys()
        return
    assert results(copy) == before
    # Where C++ cannot go on it aborts the process; what Python sees of it is one line.
    assert done.returncode == 4 or done.returncode < 0, done.stderr[-2000:]
    if done.returncode == 4:
        assert "Traceback" not in done.stderr, done.stderr[-2000:]


def _no_override() -> tuple[str, ...]:
    """Give what takes root's right to write everywhere; nothing where we are not root."""
    if os.geteuid():
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root writes everywhere, and there is no setpriv")
    return (setpriv, "--bounding-set=-dac_override,-dac_read_search", "--")


@pytest.mark.parametrize("name", STAGES)
def test_folders_that_cannot_be_written(stage: Stage, copy: Path, name: str) -> None:
    before = results(copy)
    folders = [copy, *(path for path in copy.rglob("*") if path.is_dir() and not path.is_symlink())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = stage(name, _no_override())
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert done.returncode == 4, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert "not allowed to write" in done.stderr
    assert results(copy) == before
