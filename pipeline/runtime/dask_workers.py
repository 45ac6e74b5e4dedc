"""Workers of dask.distributed: processes of this machine, or a cluster of the user's."""

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import dask
from distributed import Client, Future, LocalCluster, SchedulerPlugin, get_worker
from distributed.security import Security

from crossmodalnet.errors import ResourceError
from crossmodalnet.processes import CALL_COMMAND, SINGLE_THREADED, scratch_folder

T = TypeVar("T")
logger = logging.getLogger(__name__)

# A case that kills so many workers is given up.
MAX_KILLED = 3
# Seconds that an answer of the scheduler is waited for.
PATIENCE = 20
# Seconds between looks at whether a case is still wanted.
_INTERVAL = 0.2
# Above all levels: dask logs tracebacks as critical where memory is short.
_SILENT = logging.CRITICAL + 1
_SETTINGS: dict[str, Any] = {
    # The third worker that dies with a case, and not the fourth.
    "distributed.scheduler.allowed-failures": MAX_KILLED - 1,
    # Where no worker can be started any more, cases fail instead of waiting for ever.
    "distributed.scheduler.no-workers-timeout": "60s",
    # No case waits at a worker that computes another one: it would be blamed for that one's death.
    "distributed.scheduler.worker-saturation": 1.0,
    # ITK keeps the interpreter's lock for minutes; a worker that is silent meanwhile is not lost.
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.profile.enabled": False,
    "distributed.comm.timeouts.connect": "120s",
    "distributed.nanny.environ": {},
    # No pages to look at.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.http.routes": [],
}
# Waits until the process that started it has ended, even by `kill -9`; its workers may write a little longer.
_REMOVE_LATER = 'cat; sleep 1; rm -rf "$0"; sleep 5; rm -rf "$0"'


class LocalWorkers:
    """Single-threaded processes of this machine.

    Only as many cases are handed out as there are workers. So a result is fetched before its worker begins another
    case, and is not lost when that case kills the worker.
    """

    gone = "no worker process is left, most often for want of memory"

    def __init__(self, client: Client, num_workers: int) -> None:
        self._client = client
        self.at_once = num_workers

    def submit(self, function: Callable[[T], Any], task: T) -> Future:
        """Hand out a case; its key is its own, so that no earlier answer is taken for it."""
        return self._client.submit(function, task, pure=False)

    def result(self, future: Future) -> Any:
        """Give the result of a finished case, or raise its error."""
        return future.result()


@contextmanager
def local_workers(count: int, environment: Mapping[str, str]) -> Iterator[LocalWorkers]:
    """Start `count` worker processes, which end with this process however it ends.

    Their temporary files lie in a folder that is removed, whatever happens. Connections are encrypted with keys that
    exist in memory only, so nobody else on the machine can give them work.
    """
    with _kept_scratch() as scratch:
        variables = {**SINGLE_THREADED, **environment, "TMPDIR": str(scratch)}
        settings = {
            **_SETTINGS, "temporary-directory": str(scratch), "distributed.nanny.pre-spawn-environ": variables,
        }  # fmt: skip
        with _environment(variables), _silence(), dask.config.set(settings):
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                memory_limit=0,  # their number fits into the memory; cases are not paused in between
                local_directory=str(scratch),
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                silence_logs=_SILENT,
                security=Security.temporary(),
            )
            with cluster, Client(cluster, set_as_default=False) as client:
                deaths = _Deaths()
                cluster.scheduler.add_plugin(deaths)
                try:
                    yield LocalWorkers(client, count)
                finally:
                    cluster.scheduler.remove_plugin(deaths.name)


class _Deaths(SchedulerPlugin):  # type: ignore[misc]
    """Reports workers that die while there are cases."""

    name = "deaths"

    def remove_worker(self, scheduler: Any, worker: str, **others: Any) -> None:
        logger.warning("a worker process was killed: its case starts again in a new one")


@contextmanager
def _kept_scratch() -> Iterator[Path]:
    """Give a scratch folder that another process removes should this one be killed."""
    with (
        scratch_folder() as folder,
        # In a session of its own, which Ctrl-C does not reach.
        subprocess.Popen(
            ["sh", "-c", _REMOVE_LATER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        ) as remover,
    ):
        try:
            yield folder
        finally:
            remover.kill()


@contextmanager
def _silence() -> Iterator[None]:
    """Keep dask's own log from the console."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    before = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(_SILENT)
    try:
        yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


class DaskWorkers:
    """Workers of the user's scheduler: each case runs in a process of its own beneath a worker, as it would here.

    Such a worker lives long, has threads and libraries with settings of its own, and stands in another folder. A fresh
    process has the stage's folder, code and environment, and gives its memory back.
    """

    gone = "the scheduler is gone"
    # All, so that a cluster that grows by need sees how much there is to do.
    at_once = sys.maxsize

    def __init__(self, client: Client, environment: Mapping[str, str]) -> None:
        self._client = client
        self._variables = {
            **SINGLE_THREADED,
            **{name: os.environ[name] for name in ("DVC_ROOT",) if name in os.environ},
            "PYTHONPATH": os.pathsep.join(str(Path(path or ".").resolve()) for path in sys.path),
            **environment,
        }

    def submit(self, function: Callable[[T], Any], task: T) -> Future:
        """Hand out a case; a worker need not know the function."""
        call = pickle.dumps((function, task), protocol=5)
        return self._client.submit(call_there, call, str(Path.cwd()), self._variables, pure=False)

    def result(self, future: Future) -> Any:
        """Give the result of a finished case, or raise its error."""
        good, result = pickle.loads(future.result())  # noqa: S301 (what our own process wrote)
        if not good:
            raise result
        return result


@contextmanager
def dask_workers(address: str, environment: Mapping[str, str]) -> Iterator[DaskWorkers]:
    """Connect to the scheduler at an address; TLS as dask's own configuration says.

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
        yield DaskWorkers(client, environment)
    finally:
        client.close(timeout=5)


def call_there(call: bytes, folder: str, variables: Mapping[str, str]) -> bytes:
    """Make a pickled call in a new process in a folder; runs on a worker of the user's cluster.

    The process ends with the worker, and when the case is not wanted any more, as after `kill -9` of the stage. One
    that is killed is followed by another, up to the third.

    Returns:
        The pickled answer: whether the call succeeded, and the result or the error.

    Raises:
        ResourceError: the worker does not see the folder.
        MemoryError: the system killed three processes, as it does where memory is short.
        RuntimeError: a process ended without an answer, otherwise.
    """
    worker = get_worker()
    key = worker.get_current_task()
    if not Path(folder).is_dir():
        raise ResourceError(
            f"the worker {worker.address} has no folder {folder}: workers of runtime.scheduler need the file "
            "system of the stage, under the same paths"
        )

    def is_wanted() -> bool:
        state = worker.state.tasks.get(key)
        return state is not None and state.state == "executing"

    environment = {**os.environ, **variables}
    for _ in range(MAX_KILLED):
        with subprocess.Popen(
            CALL_COMMAND, env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            try:
                answer = _communicate(process, call, is_wanted)
            finally:
                process.kill()
        if process.returncode == 0:
            return answer
        if process.returncode > 0:
            raise RuntimeError(
                f"a process ended with code {process.returncode}; its own message is in the worker's log"
            )
    raise MemoryError(f"processes were killed by signal {-process.returncode}")


def _communicate(process: subprocess.Popen[bytes], call: bytes, is_wanted: Callable[[], bool]) -> bytes:
    waiting: bytes | None = call
    while is_wanted():
        try:
            return process.communicate(waiting, timeout=_INTERVAL)[0]
        except subprocess.TimeoutExpired:
            waiting = None  # what was begun to be written goes on being written
    raise RuntimeError("the case is not wanted any more")
