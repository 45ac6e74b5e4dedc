"""One call in a clean interpreter: the program that asks for it needs no `if __name__ == "__main__":`.

A worker of `multiprocessing` runs the program's main module again, which a notebook, a pipe or a short script is not
made for. This one imports the function's module and nothing of the program.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

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
