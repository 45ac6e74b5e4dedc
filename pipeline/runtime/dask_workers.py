"""Workers of dask.distributed: processes of this machine, or a cluster of the user's."""

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import dask
from distributed import Client, Future, LocalCluster, SchedulerPlugin, get_worker
from distributed.security import Security

from crossmodalnet.errors import ResourceError
from crossmodalnet.processes import SINGLE_THREADED, run_alone, scratch_folder

T = TypeVar("T")
logger = logging.getLogger(__name__)

# A case that kills so many workers is given up.
MAX_KILLED = 3
# Seconds that an answer of the scheduler is waited for.
PATIENCE = 20
# Above all levels: dask logs tracebacks as critical where memory is short.
_SILENT = logging.CRITICAL + 1
_SETTINGS: dict[str, Any] = {
    # The third worker that dies with a case, and not the fourth.
    "distributed.scheduler.allowed-failures": MAX_KILLED - 1,
    # Where no worker can be started any more, cases fail instead of waiting for ever.
    "distributed.scheduler.no-workers-timeout": "180s",
    # No case waits at a worker that computes another one: it would be blamed for that one's death.
    "distributed.scheduler.worker-saturation": 1.0,
    # ITK keeps the interpreter's lock for minutes; a worker that is silent meanwhile is not lost.
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.profile.enabled": False,
    "distributed.comm.timeouts.connect": "120s",
    "distributed.nanny.environ": {},
    # No dashboard.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.http.routes": [],
}
# Waits until the process that started it has ended, even by `kill -9`; its workers may write a little longer.
_REMOVE_LATER = 'cat; sleep 1; rm -rf "$0"; sleep 5; rm -rf "$0"'


class LocalWorkers:
    """Single-threaded processes of this machine.

    Args:
        client: client of their scheduler.
        at_once: cases to hand out before the first result: as many as there are workers. So a result is fetched before
            its worker begins another case, and is not lost when that case kills the worker.
    """

    lost_message = "no worker process is left, most often for want of memory"

    def __init__(self, client: Client, at_once: int) -> None:
        self.client = client
        self.at_once = at_once

    def submit(self, function: Callable[[T], Any], task: T) -> Future:
        """Hand out a case; its key is its own, so that no earlier answer is taken for it."""
        return self.client.submit(function, task, pure=False)

    def result(self, future: Future) -> Any:
        """Give the result of a finished case, or raise its error."""
        return future.result()


@contextmanager
def local_workers(count: int, environment: Mapping[str, str]) -> Iterator[LocalWorkers]:
    """Start `count` worker processes, which end with this process however it ends.

    Their temporary files lie in a folder that is removed, whatever happens. Connections are encrypted with keys that
    exist in memory only, so nobody else on the machine can give them work.
    """
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(_SILENT)
    before = dict(os.environ)
    with scratch_folder() as scratch, _removed_after_a_kill(scratch):
        variables = {**SINGLE_THREADED, **environment, "TMPDIR": str(scratch)}
        settings = {
            **_SETTINGS, "temporary-directory": str(scratch), "distributed.nanny.pre-spawn-environ": variables,
        }  # fmt: skip
        # Also here, since a variable that is set here wins over the one for the workers.
        os.environ.update(variables)
        try:
            with (
                dask.config.set(settings),
                LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    memory_limit=0,  # their number fits into the memory; cases are not paused in between
                    local_directory=str(scratch),
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                    silence_logs=_SILENT,
                    security=Security.temporary(),
                ) as cluster,
                Client(cluster, set_as_default=False) as client,
            ):
                cluster.scheduler.add_plugin(_Deaths())
                try:
                    yield LocalWorkers(client, count)
                finally:
                    cluster.scheduler.remove_plugin(_Deaths.name)
        finally:
            os.environ.clear()
            os.environ.update(before)


class _Deaths(SchedulerPlugin):  # type: ignore[misc]
    """Reports workers that die while there are cases."""

    name = "deaths"

    def remove_worker(self, scheduler: Any, worker: str, **others: Any) -> None:
        logger.warning("a worker process was killed: its case starts again in a new one")


@contextmanager
def _removed_after_a_kill(folder: Path) -> Iterator[None]:
    command = ["sh", "-c", _REMOVE_LATER, str(folder)]
    # In a session of its own, which Ctrl-C does not reach.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    ) as remover:
        try:
            yield
        finally:
            remover.kill()


class DaskWorkers(LocalWorkers):
    """Workers of the user's scheduler: each case runs in a process of its own beneath a worker, as it would here.

    Such a worker lives long, has threads and libraries with settings of its own, and stands in another folder. A fresh
    process has the stage's folder, code and environment, and gives its memory back.
    """

    lost_message = "the scheduler is gone"

    def __init__(self, client: Client, environment: Mapping[str, str]) -> None:
        # All cases at once, so that a cluster that grows by need sees how much there is to do.
        super().__init__(client, sys.maxsize)
        self._variables = {
            "PYTHONPATH": os.pathsep.join(str(Path(path or ".").resolve()) for path in sys.path),
            **{name: os.environ[name] for name in ("DVC_ROOT",) if name in os.environ},
            **environment,
        }

    def submit(self, function: Callable[[T], Any], task: T) -> Future:
        """Hand out a case; a worker need not know the function."""
        call = pickle.dumps((function, task), protocol=5)
        return self.client.submit(call_there, call, str(Path.cwd()), self._variables, pure=False)

    def result(self, future: Future) -> Any:
        """Give the result of a finished case, or raise its error."""
        return pickle.loads(future.result())  # noqa: S301 (what our own process wrote)


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
    """Make a pickled call in a new process in a folder, and give its pickled result; runs on a user's worker.

    The process ends with the worker, and when the case is not wanted any more, as after `kill -9` of the stage. One
    that the system kills is followed by another, up to the third.
    """
    worker = get_worker()
    key = worker.get_current_task()
    if not Path(folder).is_dir():
        raise ResourceError(
            f"the worker {worker.address} has no folder {folder}: workers of runtime.scheduler need the file "
            "system of the stage, under the same paths"
        )

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing"

    for _ in range(MAX_KILLED - 1):
        with suppress(MemoryError):
            return run_alone(_call_in_folder, (folder, call), environment=variables, is_wanted=is_wanted)
    return run_alone(_call_in_folder, (folder, call), environment=variables, is_wanted=is_wanted)


def _call_in_folder(task: tuple[str, bytes]) -> bytes:
    os.chdir(task[0])
    function, item = pickle.loads(task[1])  # noqa: S301 (what the stage wrote)
    return pickle.dumps(function(item), protocol=5)
