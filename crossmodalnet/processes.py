"""Processes, their temporary folders, and what a machine lacks when they fail."""

import errno
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

# Read by the libraries when a process imports them; one thread each is what makes ANTs' results reproducible.
SINGLE_THREADED = {
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def run_alone(function: Callable[[T], R], task: T, *, environment: Mapping[str, str] | None = None) -> R:
    """Call a module-level function of an importable module with one task, single-threaded, in a process of its own.

    Args:
        function: called with the task; what it raises is raised here.
        task: picklable, as is what the function gives back.
        environment: variables that the process sees from its first import on.

    Raises:
        MemoryError: the system ended the process, as it does where memory does not suffice.
        RuntimeError: the process ended without an answer, otherwise.
    """
    command = [sys.executable, "-P", "-m", __name__]
    variables = {**os.environ, "PYTHONPATH": _path(), **SINGLE_THREADED, **(environment or {})}
    with subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            # To the pipe, not to a string first: a scan is some hundred megabytes.
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
    result: R = answer
    return result


def _path() -> str:
    """Where this process looks for modules, so that the other one finds the same."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109 (a string is wanted)


def _answer() -> None:
    """Read a call from stdin, make it, and write what became of it to stdout."""
    # Ctrl-C reaches all processes of a terminal; the one that asked ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # Libraries in C++ write to stdout as they please: what they write goes to stderr.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        function, task = pickle.load(sys.stdin.buffer)  # noqa: S301 (what the process that started this one wrote)
        try:
            answer = True, function(task)
        except Exception as error:
            answer = False, error
        pickle.dump(answer, out, protocol=5)
        out.flush()
    except (EOFError, BrokenPipeError, pickle.UnpicklingError):  # who asked is gone: there is nobody to tell
        os._exit(1)
    # Who asked has what it waits for; taking PyTorch and MONAI down piece by piece would keep it a second or two.
    sys.stderr.flush()
    os._exit(0)


def _end_with(parent: int) -> None:
    """End when the process that asked is gone: after `kill -9` nobody waits for the answer."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    _answer()


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)
# Libraries in C++ and Rust keep the words of the system's error and lose its number.
_WORDS = ("no space left on device", "file too large", "disk quota exceeded")
_MEMORY_WORDS = (
    "out of memory",
    "cannot allocate memory",
    "bad_alloc",
    "failed to allocate",
    "can't allocate memory",
    "failed to map segment",  # a shared library, by the loader
)
# Of a process or thread that could not be started, for want of either.
_NO_PROCESS_WORDS = ("resource temporarily unavailable", "can't start new thread")


def what_is_lacking(error: BaseException) -> str | None:
    """Say what to give the machine so that the same command can go on; None for an error of another kind."""
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in _NO_ROOM:
            return f"no room on the disk{_where(one)} ({one.strerror}): make room and run the same again; it goes on"
        if isinstance(one, OSError) and one.errno in _NOT_ALLOWED:
            return f"not allowed to write or read{_where(one)} ({one.strerror}): change permissions, or run elsewhere"
        if isinstance(one, MemoryError) or (isinstance(one, OSError) and one.errno == errno.ENOMEM):
            return "not enough memory: close other programs, or set runtime.workers and train.devices to 1"
        if isinstance(one, OSError) and one.errno in _TOO_MANY:
            return f"too many open files ({one.strerror}): raise the limit (`ulimit -n`)"
        text = str(one).lower()
        if any(words in text for words in _NO_PROCESS_WORDS):
            return (
                f"too little memory, or too many processes ({_last_line(one)}): close other programs, set "
                "runtime.workers to 1, or raise the limits (`ulimit -v`, `ulimit -u`)"
            )
        if any(words in text for words in _WORDS):
            return f"no room on the disk ({_last_line(one)}): make room and run the same again; it goes on"
        if any(words in text for words in _MEMORY_WORDS):
            return f"not enough memory ({_last_line(one)}): close other programs, or take smaller patches"
    return None


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _where(error: OSError) -> str:
    return f": {error.filename}" if error.filename else ""


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


PREFIX = "crossmodalnet-"
# Programs with a language of their own in paths: ANTs splits at commas and brackets, glob at others.
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_OWNER = re.compile(rf"{PREFIX}(\d+)-.*")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give an empty folder of a plain path, removed at the end; those that killed processes left are removed too."""
    base = _base()
    remove_stale(base)
    prefix = f"{PREFIX}{os.getpid()}-"
    # A process of ours that ends at the same moment may still write there.
    with tempfile.TemporaryDirectory(prefix=prefix, dir=base, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def plain_folder(folder: Path) -> Iterator[Path]:
    """Give a path that leads to an existing folder and has no sign that ANTs or glob would read otherwise."""
    if is_plain(folder):
        yield folder
        return
    with scratch_folder() as scratch:
        link = scratch / "folder"
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield link


def is_plain(path: Path) -> bool:
    """Tell whether a path has letters, digits, `_`, `.`, `-` and `/` alone."""
    return bool(_PLAIN.fullmatch(str(path)))


def remove_stale(base: Path | None = None) -> None:
    """Remove the temporary folders of processes of ours that are gone."""
    for folder in (base or _base()).glob(f"{PREFIX}*"):
        owner = _OWNER.fullmatch(folder.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _base() -> Path:
    """The system's temporary folder, or another where that one's path is not plain."""
    usual = Path(tempfile.gettempdir())
    others = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
    found = (path for path in (usual, *others) if is_plain(path) and os.access(path, os.W_OK | os.X_OK))
    return next(found, usual)
