"""Run functions in separate processes, and manage temporary folders."""

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")
R = TypeVar("R")

# Read on import of the libraries; ANTs is reproducible only with one thread.
SINGLE_THREADED = {
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def run_alone(
    function: Callable[[T], R],
    task: T,
    *,
    environment: Mapping[str, str] | None = None,
    is_wanted: Callable[[], bool] | None = None,
) -> R:
    """Run a module-level function on one picklable task in a separate, single-threaded process.

    Unlike a `multiprocessing` worker, the process does not import `__main__`, so notebooks and scripts without a main
    guard can call it. Errors of the function are raised here.

    Args:
        environment: variables that are set before the process imports libraries.
        is_wanted: polled five times per second; the process is killed when it returns False.

    Raises:
        MemoryError: the system killed the process, usually for lack of memory.
        RuntimeError: the process ended without an answer for another reason.
    """
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    variables = {**os.environ, "PYTHONPATH": path, **SINGLE_THREADED, **(environment or {})}
    command = [sys.executable, "-P", "-m", __name__]
    with subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if is_wanted:
            _once_false(is_wanted, process.kill)
        try:
            # Directly to the pipe: a scan has some hundred megabytes.
            with process.stdin:
                pickle.dump((function, task), process.stdin, protocol=5)
            good, answer = pickle.load(process.stdout)  # noqa: S301 (what our own process wrote)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            code = process.wait()
            if code == -signal.SIGKILL:
                raise MemoryError("the system ended a process, as it does where memory is short") from None
            raise RuntimeError(f"a process ended with code {code}; its own message is above") from None
        except BaseException:
            process.kill()
            raise
    if not good:
        raise answer
    return answer


def _answer() -> None:
    """Read a call from stdin, run it, and write the result or the error to stdout."""
    # Ctrl-C reaches all processes of a terminal; the parent stops this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    _once_false(lambda: os.getppid() == parent, lambda: os._exit(1))
    # C++ libraries write to stdout: redirect it to stderr.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        function, task = pickle.load(sys.stdin.buffer)  # noqa: S301 (what the parent wrote)
        try:
            answer = True, function(task)
        except Exception as error:
            answer = False, error
        pickle.dump(answer, out, protocol=5)
        out.flush()
    except (EOFError, BrokenPipeError, pickle.UnpicklingError):  # the parent is dead
        os._exit(1)
    # A regular exit of PyTorch and MONAI takes a second or two.
    sys.stderr.flush()
    os._exit(0)


def _once_false(condition: Callable[[], bool], action: Callable[[], None]) -> None:
    def watch() -> None:
        while condition():
            time.sleep(0.2)
        action()

    threading.Thread(target=watch, daemon=True).start()


PREFIX = "crossmodalnet-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create an empty folder and remove it at the end, along with folders of killed processes."""
    base = _temporary_base()
    remove_stale(base)
    # A child that is ending may still write there.
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=base, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def plain_folder(folder: Path) -> Iterator[Path]:
    """Return a path to a folder that ANTs and glob read literally: a link if needed."""
    if is_plain(folder):
        yield folder
        return
    with scratch_folder() as scratch:
        link = scratch / "folder"
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield link


def is_plain(path: Path) -> bool:
    """Return True for a path without characters that ANTs or glob interpret, such as commas and brackets."""
    return bool(re.fullmatch(r"[A-Za-z0-9_./-]+", str(path)))


def remove_stale(base: Path | None = None) -> None:
    """Remove the scratch folders of processes that have ended."""
    for folder in (base or _temporary_base()).glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _temporary_base() -> Path:
    usual = Path(tempfile.gettempdir())
    bases = (usual, Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
    return next((base for base in bases if is_plain(base) and os.access(base, os.W_OK | os.X_OK)), usual)


if __name__ == "__main__":
    _answer()
