"""Processes of their own, temporary folders that leave nothing behind, and errors for want of a resource."""

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
# Reads a pickled call from stdin, and writes the pickled answer to stdout.
CALL_COMMAND = (sys.executable, "-P", "-m", "crossmodalnet.processes")


def run_alone(function: Callable[[T], R], task: T, *, environment: Mapping[str, str] | None = None) -> R:
    """Call a module-level function of an importable module with one task, in a single-threaded process of its own.

    Unlike a worker of `multiprocessing`, the process does not import the program's main module. So a notebook, a pipe
    or a script without `if __name__ == "__main__":` may call this.

    Args:
        function: called with the task; what it raises is raised here.
        task: picklable, as is the result.
        environment: variables that the process sees from its first import on.

    Raises:
        MemoryError: the system killed the process, as it does where memory is short.
        RuntimeError: the process ended without an answer, otherwise.
    """
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    variables = {**os.environ, "PYTHONPATH": path, **SINGLE_THREADED, **(environment or {})}
    with subprocess.Popen(
        CALL_COMMAND, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
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


def _answer() -> None:
    """Read a call from stdin, make it, and write the result or the error to stdout."""
    # Ctrl-C reaches all processes of a terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # Libraries in C++ write to stdout: what they write goes to stderr.
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
    # Taking PyTorch and MONAI down piece by piece would keep the parent waiting a second or two.
    sys.stderr.flush()
    os._exit(0)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


PREFIX = "crossmodalnet-"
# ANTs splits paths at commas and brackets, glob at others.
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_OWNER = re.compile(rf"{PREFIX}(\d+)-.*")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give an empty folder of a plain path, removed at the end; remove those of killed processes, too."""
    base = _temporary_base()
    remove_stale(base)
    # A child that ends at the same moment may still write there.
    with tempfile.TemporaryDirectory(
        prefix=f"{PREFIX}{os.getpid()}-", dir=base, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


@contextmanager
def plain_folder(folder: Path) -> Iterator[Path]:
    """Give a path to an existing folder that ANTs and glob read as it stands: a link where need be."""
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
    """Remove the scratch folders of processes that have ended."""
    for folder in (base or _temporary_base()).glob(f"{PREFIX}*"):
        owner = _OWNER.fullmatch(folder.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _temporary_base() -> Path:
    usual = Path(tempfile.gettempdir())
    for path in (usual, Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")):
        if is_plain(path) and os.access(path, os.W_OK | os.X_OK):
            return path
    return usual


# Numbers of system errors; words, since libraries in C++ and Rust lose the number; problem; remedy.
_PROBLEMS: tuple[tuple[tuple[int, ...], tuple[str, ...], str, str], ...] = (
    (
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        ("no space left on device", "file too large", "disk quota exceeded"),
        "no room on the disk",
        "make room and run the same again; it goes on",
    ),
    (
        (errno.EACCES, errno.EPERM, errno.EROFS),
        (),
        "not allowed to write or read",
        "change permissions, or run elsewhere",
    ),
    ((errno.EMFILE, errno.ENFILE), (), "too many open files", "raise the limit (`ulimit -n`)"),
    (
        (),
        ("resource temporarily unavailable", "can't start new thread"),
        "too little memory, or too many processes",
        "close other programs, set runtime.workers to 1, or raise the limits (`ulimit -v`, `ulimit -u`)",
    ),
    (
        (errno.ENOMEM,),
        (
            "out of memory", "cannot allocate memory", "bad_alloc", "failed to allocate", "can't allocate memory",
            "failed to map segment",  # a shared library, by the loader
        ),
        "not enough memory",
        "close other programs, take smaller patches, or set runtime.workers and train.devices to 1",
    ),
)  # fmt: skip


def resource_problem(error: BaseException) -> str | None:
    """Say which resource of the machine ran out and what to do; None for an error of another kind."""
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        number = errno.ENOMEM if isinstance(one, MemoryError) else getattr(one, "errno", None)
        text = str(one).lower()
        for numbers, words, problem, remedy in _PROBLEMS:
            if number in numbers or any(word in text for word in words):
                return f"{problem}{_detail(one)}: {remedy}"
        seen.append(one)
        one = one.__cause__ or one.__context__
    return None


def _detail(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename:
        return f": {error.filename} ({error.strerror})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f" ({lines[-1][:200]})" if lines else ""


if __name__ == "__main__":
    _answer()
