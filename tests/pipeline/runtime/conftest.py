"""Functions that workers can import, and a scheduler with workers in processes of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pipeline.runtime.paths import TOP

HELPERS = '''
import os, signal, time
from pathlib import Path

def square(number):
    return number * number

def environment(name):
    return os.environ.get(name), os.getcwd(), os.environ["OMP_NUM_THREADS"]

def die_once(flag):
    """Kill this process the first time."""
    if flag and not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return flag

def die(number):
    """Kill this process for odd numbers."""
    if number % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number

def leave_a_file(name):
    """Leave something in the temporary folder, say so, and go on for a minute."""
    import tempfile
    Path(tempfile.mkdtemp()).joinpath("left").touch()
    Path(name).write_text(str(os.getpid()))
    time.sleep(60)

def finish(name):
    """Note a case that is done; the case called slow takes a minute."""
    if Path(name).name == "slow":
        Path(name).with_suffix(".begun").write_text(str(os.getpid()))
        time.sleep(60)
    with open(name, "a") as file:
        file.write("done\\n")
    return name

def begin(name):
    """Note a case that has begun."""
    Path(name).touch()
    return name

def bar_the_way(number):
    """Put a file in the place of the workers' folder, so that no other one can start, and kill this process."""
    import shutil
    folder = Path(os.environ["TMPDIR"], "dask-scratch-space")
    shutil.rmtree(folder)
    folder.touch()
    os.kill(os.getpid(), signal.SIGKILL)

def close_the_worker(number):
    """Close the worker that computes this case."""
    from distributed import get_worker
    worker = get_worker()
    worker.loop.add_callback(worker.close)
    time.sleep(60)

def slowly_fail(seconds):
    """Give back a number of seconds; wait so long and fail where it is not 0."""
    time.sleep(seconds)
    if seconds:
        raise ValueError("as foreseen")
    return seconds

def out_of_memory(number):
    if number == 2:
        raise MemoryError("no memory")
    return number
'''


def wait_until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@dataclass(frozen=True)
class Helpers:
    """Folder of the module `helpers`, and the environment of processes that shall find it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), str(TOP)])}

    def start(self, script: str, *, tmp: Path | None = None) -> subprocess.Popen[str]:
        """Start a program of its own, with a temporary folder of its own."""
        file = self.folder / "program.py"
        file.write_text(script, "utf-8")
        variables = self.environment | ({"TMPDIR": str(tmp)} if tmp else {})
        return subprocess.Popen(
            [sys.executable, str(file)], env=variables, cwd=self.folder, text=True, stderr=subprocess.PIPE
        )


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Helpers]:
    """A module `helpers` that this process and its workers can import."""
    folder = tmp_path / "helpers"
    folder.mkdir()
    (folder / "helpers.py").write_text(HELPERS, "utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "helpers", raising=False)
    yield Helpers(folder)
    sys.modules.pop("helpers", None)


@dataclass(frozen=True)
class Cluster:
    """A scheduler and a worker with two threads, each a process of its own, in another folder than ours."""

    address: str
    scheduler: psutil.Process
    worker: psutil.Process


@pytest.fixture
def cluster(helpers: Helpers, tmp_path: Path) -> Iterator[Cluster]:
    elsewhere, file = tmp_path / "elsewhere", tmp_path / "scheduler.json"
    elsewhere.mkdir()
    common = {"env": helpers.environment, "cwd": elsewhere, "stderr": subprocess.DEVNULL}
    here = ["--host", "127.0.0.1", "--no-dashboard"]
    with subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--scheduler-file", str(file), *here],
        **common,
    ) as scheduler:  # fmt: skip
        wait_until(file.exists)
        with subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "2",
             "--nworkers", "1", "--local-directory", str(elsewhere), "--death-timeout", "60", *here],
            **common,
        ) as worker:  # fmt: skip
            address = json.loads(file.read_text("utf-8"))["address"]
            yield Cluster(address, psutil.Process(scheduler.pid), psutil.Process(worker.pid))
            worker.terminate()
        scheduler.terminate()
