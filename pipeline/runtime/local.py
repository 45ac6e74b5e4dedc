"""A cluster of dask.distributed on this machine while a stage has cases: single-threaded spawned processes."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import dask
from distributed import Client, LocalCluster, Nanny, Scheduler, SchedulerPlugin
from distributed.core import Status
from distributed.security import Security

from crossmodalnet.processes.alone import SINGLE_THREADED
from pipeline.runtime.scratch import kept_scratch

logger = logging.getLogger(__name__)

# A case that kills so many workers is given up.
MAX_KILLED = 3
# Workers that may die one after another before they have started.
_STARTS = 10
# Above all levels: dask logs tracebacks as critical where memory is short.
_SILENT = logging.CRITICAL + 1
_SETTINGS: dict[str, Any] = {
    # The third worker that dies with a case, and not the fourth.
    "distributed.scheduler.allowed-failures": MAX_KILLED - 1,
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


class _Deaths(SchedulerPlugin):  # type: ignore[misc]
    """What follows from the death of workers, as long as the cluster is wanted.

    Args:
        num_workers: workers that the cluster began with.
    """

    def __init__(self, num_workers: int) -> None:
        self.wanted = True
        self.scheduler: Scheduler | None = None
        self._num_left = num_workers

    def remove_worker(self, scheduler: Any, worker: str, **others: Any) -> None:
        if self.wanted:
            logger.warning("a worker process was killed: its case starts again in a new one")

    def update_graph(self, scheduler: Any, **others: Any) -> None:
        """Look again once a case is in: the last worker may have gone while it came."""
        scheduler.loop.add_callback(self._end_if_alone)

    def no_other_comes(self) -> None:
        """Note that nothing follows a dead worker."""
        self._num_left -= 1
        self._end_if_alone()

    def _end_if_alone(self) -> None:
        """Cancel all cases, which would wait for ever, where no worker is left."""
        if self._num_left or self.scheduler is None or not self.wanted:
            return
        for client, state in self.scheduler.clients.items():
            keys = [task.key for task in state.wants_what]
            self.scheduler.stimulus_cancel(
                keys, client, force=True, reason="no-worker", msg="no worker is left"
            )


class ImmediateNanny(Nanny):  # type: ignore[misc]
    """A nanny that ends its worker at once: when the cluster closes, results are there or not wanted.

    It starts a worker in place of one that was killed, but closes itself where that one cannot start, and where a
    worker asks for it, as it does when it lacks the memory to say that it lives.

    Args:
        deaths: learns of nannies that have closed themselves.
    """

    def __init__(self, *args: Any, deaths: _Deaths, **others: Any) -> None:
        super().__init__(*args, **others)
        self._deaths = deaths
        self._starts_in_vain = 0

    async def instantiate(self) -> Status:
        """Start a worker, the first or one in place of another."""
        status = await super().instantiate()
        # A worker that dies while it starts, as by its first case or for want of memory, is followed by another.
        self._starts_in_vain = 0 if status == Status.running else self._starts_in_vain + 1
        if self._starts_in_vain == _STARTS:
            await self.close(reason="workers-die-while-they-start")
        return status

    async def close(self, timeout: float = 5, reason: str = "nanny-close") -> Literal["OK"]:
        """End the worker, and tell that none follows."""
        is_first = self.status not in (Status.closing, Status.closed)
        done: Literal["OK"] = await super().close(timeout=timeout, reason=reason)
        if is_first:
            self._deaths.no_other_comes()
        return done

    async def kill(self, timeout: float = 5, reason: str = "nanny-kill") -> None:
        """Kill the process first, so that nothing is waited for."""
        if self.process is not None and self.process.process is not None:
            await self.process.process.kill()
        await super().kill(timeout=timeout, reason=reason)


@contextmanager
def local_client(num_workers: int, environment: Mapping[str, str]) -> Iterator[Client]:
    """Start workers and give the client that they work for.

    They end with this process, however it ends. What they write to the system's temporary folder lies in one that is
    removed, whatever happens. Nobody else on the machine can give them work: connections are encrypted, by keys that
    exist in memory only.

    Args:
        num_workers: number of workers, 1 or more.
        environment: variables that they see from their first import on.
    """
    with kept_scratch() as scratch:
        variables = {**SINGLE_THREADED, **environment, "TMPDIR": str(scratch)}
        settings = {
            **_SETTINGS, "temporary-directory": str(scratch), "distributed.nanny.pre-spawn-environ": variables,
        }  # fmt: skip
        deaths = _Deaths(num_workers)
        with _environment(variables), _silence(), dask.config.set(settings):
            cluster = LocalCluster(
                n_workers=num_workers,
                threads_per_worker=1,
                worker_class=ImmediateNanny,
                deaths=deaths,
                memory_limit=0,  # what fits was reckoned before; cases are not paused in between
                local_directory=str(scratch),
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                silence_logs=_SILENT,
                security=Security.temporary(),
            )
            with cluster:
                deaths.scheduler = cluster.scheduler
                cluster.scheduler.add_plugin(deaths)
                with Client(cluster, set_as_default=False) as client:
                    try:
                        yield client
                    finally:
                        deaths.wanted = False


@contextmanager
def _silence() -> Iterator[None]:
    """Keep dask's own log from the console: what a user needs to know we say."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    before = [found.level for found in loggers]
    for found in loggers:
        found.setLevel(_SILENT)
    try:
        yield
    finally:
        for found, level in zip(loggers, before, strict=True):
            found.setLevel(level)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})
