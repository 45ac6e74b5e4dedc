"""Run cases on dask.distributed workers: local processes, or the user's cluster."""

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

# Worker deaths after which a case is given up.
MAX_KILLED = 3
# Seconds to wait for an answer of the scheduler.
PATIENCE = 20
# Above all levels: dask logs tracebacks as critical when memory is low.
_SILENT = logging.CRITICAL + 1
_SETTINGS: dict[str, Any] = {
    # Deaths before the one that gives a case up.
    "distributed.scheduler.allowed-failures": MAX_KILLED - 1,
    # Cases fail instead of waiting forever if no worker can start.
    "distributed.scheduler.no-workers-timeout": "180s",
    # Cases do not queue at a busy worker: they would be blamed for its death.
    "distributed.scheduler.worker-saturation": 1.0,
    # ITK holds the GIL for minutes; a silent worker is not lost.
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.profile.enabled": False,
    "distributed.comm.timeouts.connect": "120s",
    "distributed.nanny.environ": {},
    # No dashboard.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.http.routes": [],
}
# Waits for its parent to end, even by `kill -9`; workers may write a little longer.
_REMOVE_LATER = 'cat; sleep 1; rm -rf "$0"; sleep 5; rm -rf "$0"'


class LocalWorkers:
    """Single-threaded processes of this machine.

    Args:
        at_once: cases to submit before the first result, one per worker, so a finished result is fetched before
            its worker starts a case that may kill it.
    """

    lost_message = "no worker process is left, most often for want of memory"

    def __init__(self, client: Client, at_once: int) -> None:
        self.client = client
        self.at_once = at_once

    def submit(self, function: Callable[[T], Any], task: T) -> Future:
        """Submit a case under a unique key, so dask does not reuse an earlier answer."""
        return self.client.submit(function, task, pure=False)

    def result(self, future: Future) -> Any:
        """Return the result of a finished case, or raise its error."""
        return future.result()


@contextmanager
def local_workers(count: int, environment: Mapping[str, str]) -> Iterator[LocalWorkers]:
    """Start `count` worker processes, which end with this process even if it is killed.

    Connections are encrypted with keys held only in memory, so no other user can submit work.
    """
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(_SILENT)
    before = dict(os.environ)
    with scratch_folder() as scratch, _removed_after_a_kill(scratch):
        variables = {**SINGLE_THREADED, **environment, "TMPDIR": str(scratch)}
        settings = {
            **_SETTINGS, "temporary-directory": str(scratch), "distributed.nanny.pre-spawn-environ": variables,
        }  # fmt: skip
        # Set here too: this process's variables override those for the workers.
        os.environ.update(variables)
        try:
            with (
                dask.config.set(settings),
                LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    memory_limit=0,  # never pause cases; the number of workers fits the memory
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
    # In its own session, which Ctrl-C does not reach.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    ) as remover:
        try:
            yield
        finally:
            remover.kill()


class DaskWorkers(LocalWorkers):
    """Workers of the user's scheduler; each case runs in a fresh process beneath a worker.

    A long-lived worker has its own threads, settings and folder. A fresh process has the stage's folder, code and
    environment, and frees its memory.
    """

    lost_message = "the scheduler is gone"

    def __init__(self, client: Client, environment: Mapping[str, str]) -> None:
        # Submit all cases, so an adaptive cluster sees the whole load.
        super().__init__(client, sys.maxsize)
        self._variables = {
            "PYTHONPATH": os.pathsep.join(str(Path(path or ".").resolve()) for path in sys.path),
            **{name: os.environ[name] for name in ("DVC_ROOT",) if name in os.environ},
            **environment,
        }

    def submit(self, function: Callable[[T], Any], task: T) -> Future:
        """Submit a case; the worker need not have the function."""
        call = pickle.dumps((function, task), protocol=5)
        return self.client.submit(call_there, call, str(Path.cwd()), self._variables, pure=False)

    def result(self, future: Future) -> Any:
        """Return the result of a finished case, or raise its error."""
        return pickle.loads(future.result())  # noqa: S301 (written by our own process)


@contextmanager
def dask_workers(address: str, environment: Mapping[str, str]) -> Iterator[DaskWorkers]:
    """Connect to a scheduler with dask's TLS settings; raise ResourceError if none answers."""
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
    """Run a pickled call in a new process in `folder` and return the pickled result; runs on a user's worker.

    The process ends with the worker or when the case is cancelled. If the system kills it, it is retried twice.
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
    function, item = pickle.loads(task[1])  # noqa: S301 (written by the stage)
    return pickle.dumps(function(item), protocol=5)
