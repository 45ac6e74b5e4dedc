"""A cluster of the user's: each case in a process of its own beneath a worker, as it would be on this machine.

A worker of such a cluster lives long, has threads and libraries with settings of its own, and stands in another
folder. A fresh process per case has the stage's folder, code and environment, and gives its memory back.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client, get_worker

from crossmodalnet.processes.alone import SINGLE_THREADED
from pipeline.runtime.errors import ResourceError

# Processes that may die with a case.
MAX_KILLED = 3
# Seconds that an answer of the scheduler is waited for.
PATIENCE = 20
# Between looks at whether the case is still wanted.
_INTERVAL = 0.2


@dataclass(frozen=True)
class Place:
    """Where a stage runs, for processes on other machines that share its file system.

    Attributes:
        folder: current folder, which the paths of cases are relative to.
        modules: folders that modules are found in.
        environment: variables that differ from the worker's.
    """

    folder: str
    modules: tuple[str, ...]
    environment: dict[str, str]

    @classmethod
    def here(cls, environment: Mapping[str, str]) -> "Place":
        """The place of this process, with variables of the cases."""
        root = {name: os.environ[name] for name in ("DVC_ROOT",) if name in os.environ}
        modules = tuple(str(Path(path or ".").resolve()) for path in sys.path)
        return cls(str(Path.cwd()), modules, {**SINGLE_THREADED, **root, **environment})


@contextmanager
def remote_client(address: str) -> Iterator[Client]:
    """Give a client of the scheduler at an address; TLS as dask's own configuration says.

    Raises:
        ResourceError: no scheduler answers there.
    """
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ResourceError(
            f"runtime.scheduler = {address}: no scheduler of dask.distributed answers there: start it "
            "(docs/clusters.md), correct the address, or set runtime.scheduler to null"
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=5)


def num_threads_of(client: Client) -> tuple[int, int]:
    """Give the number of workers that a scheduler has at present, and of their threads: cases at once."""
    threads = client.nthreads()
    return len(threads), sum(threads.values())


def pack(function: Callable[[Any], Any], task: Any) -> bytes:
    """Write down a call for `call_there`; a worker need not know the function."""
    return pickle.dumps((function, task), protocol=5)


def unpack(answer: bytes) -> Any:
    """Give what a call gave.

    Raises:
        Exception: what the function raised.
    """
    good, result = pickle.loads(answer)  # noqa: S301 (what our own process wrote)
    if not good:
        raise result
    return result


def call_there(call: bytes, place: Place) -> bytes:
    """Make a call in a new process at its place; runs on a worker of the user's cluster.

    The process ends with the worker, and when nobody wants the case any more, as after `kill -9` of the stage. One that
    is killed is followed by another, up to the third.

    Args:
        call: call that `pack` wrote.
        place: place of the stage.

    Returns:
        What `unpack` reads.

    Raises:
        ResourceError: the worker does not see the stage's folder.
        MemoryError: the system ended three processes, as it does where memory is short.
        RuntimeError: a process ended without an answer, otherwise.
    """
    worker = get_worker()
    if not Path(place.folder).is_dir():
        raise ResourceError(
            f"the worker {worker.address} has no folder {place.folder}: workers of runtime.scheduler need the file "
            "system of the stage, under the same paths"
        )
    variables = {**os.environ, **place.environment, "PYTHONPATH": os.pathsep.join(place.modules)}
    command = [sys.executable, "-P", "-m", "crossmodalnet.processes.alone"]
    key = worker.get_current_task()
    for attempt in range(1, MAX_KILLED + 1):
        try:
            return _call(command, call, variables, place.folder, lambda: _is_wanted(worker, key))
        except MemoryError:
            if attempt == MAX_KILLED:
                raise
    raise AssertionError("the last attempt returns or raises")


def _call(
    command: list[str], call: bytes, variables: dict[str, str], folder: str, is_wanted: Callable[[], bool]
) -> bytes:
    with subprocess.Popen(
        command, env=variables, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            return _answer(process, call, is_wanted)
        finally:
            process.kill()


def _answer(process: subprocess.Popen[bytes], call: bytes, is_wanted: Callable[[], bool]) -> bytes:
    waiting: bytes | None = call
    while is_wanted():
        try:
            answer, _ = process.communicate(waiting, timeout=_INTERVAL)
        except subprocess.TimeoutExpired:
            waiting = None  # what was begun to be written goes on being written
            continue
        if process.returncode < 0:
            raise MemoryError(f"a process was killed by signal {-process.returncode}")
        if process.returncode:
            raise RuntimeError(
                f"a process ended with code {process.returncode}; its own message is in the worker's log"
            )
        return answer
    raise RuntimeError("the case is not wanted any more")


def _is_wanted(worker: Any, key: Any) -> bool:
    found = worker.state.tasks.get(key)
    return found is not None and found.state == "executing"
