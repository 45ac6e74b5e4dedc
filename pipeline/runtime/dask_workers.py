"""Run cases on dask.distributed workers: local processes, or the user's cluster."""

import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, LocalCluster, SchedulerPlugin, get_worker
from distributed.security import Security

from crossmodalnet.errors import ResourceError
from crossmodalnet.processes import SINGLE_THREADED, run_alone, scratch_folder

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
    # No dashboard.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.http.routes": [],
}


@dataclass(frozen=True)
class Workers:
    """Single-threaded processes that compute cases.

    Attributes:
        at_once: cases to submit before the first result.
        variables: for workers of the user's scheduler, the environment of a fresh process per case: such a worker
            has its own threads, settings, folder and code.
    """

    client: Client
    at_once: int
    lost_message: str
    variables: Mapping[str, str] | None = None

    def submit(self, function: Callable[[Any], Any], task: Any) -> Future:
        """Submit a case under a unique key, so dask does not reuse an earlier answer."""
        if self.variables is None:
            return self.client.submit(function, task, pure=False)
        call = pickle.dumps((function, task), protocol=5)
        return self.client.submit(call_there, call, str(Path.cwd()), self.variables, pure=False)

    def result(self, future: Future) -> Any:
        """Return the result of a finished case, or raise its error."""
        result = future.result()
        return result if self.variables is None else pickle.loads(result)  # noqa: S301 (from our own process)


@contextmanager
def local_workers(count: int, environment: Mapping[str, str]) -> Iterator[Workers]:
    """Start `count` worker processes, which end with this process even if it is killed.

    Connections are encrypted with keys held only in memory, so no other user can submit work.
    """
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(_SILENT)
    before = dict(os.environ)
    with scratch_folder() as scratch:
        variables = {**SINGLE_THREADED, **environment, "TMPDIR": str(scratch)}
        local = {"temporary-directory": str(scratch), "distributed.nanny.pre-spawn-environ": variables}
        # Set here too: this process's variables override those for the workers.
        os.environ.update(variables)
        try:
            with (
                dask.config.set({**_SETTINGS, **local}),
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
                    # One case per worker: a result is fetched before its worker starts a case that may kill it.
                    yield Workers(client, count, "no worker process is left, most often for want of memory")
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
def dask_workers(address: str, environment: Mapping[str, str]) -> Iterator[Workers]:
    """Connect to a scheduler with dask's TLS settings; raise ResourceError if none answers."""
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ResourceError(
            f"runtime.scheduler = {address}: no scheduler of dask.distributed answers there: start it "
            "(docs/clusters.md), correct the address, or set runtime.scheduler to null"
        ) from error
    try:
        # All cases at once, so an adaptive cluster sees the whole load.
        path = os.pathsep.join(str(Path(folder or ".").resolve()) for folder in sys.path)
        root = {"DVC_ROOT": os.environ["DVC_ROOT"]} if "DVC_ROOT" in os.environ else {}
        variables = {"PYTHONPATH": path, **root, **environment}
        yield Workers(client, sys.maxsize, "the scheduler is gone", variables)
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
