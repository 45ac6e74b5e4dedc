"""Clusters of dask.distributed: one on this machine, or the user's own."""

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dask
from distributed import Client, LocalCluster, Nanny, Scheduler, SchedulerPlugin, get_worker
from distributed.core import Status
from distributed.security import Security

from crossmodalnet.errors import ResourceError
from crossmodalnet.processes import SINGLE_THREADED, scratch_folder

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
    command = [sys.executable, "-P", "-m", "crossmodalnet.processes"]
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


# Reads until the pipe to the process that started it is closed, which the system does however that one ends. Workers
# that end at the same moment may still write: hence several rounds.
_KEEPER = """
import os, shutil, sys, time
sys.stdin.buffer.read()
for _ in range(50):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    if not os.path.exists(sys.argv[1]):
        break
    time.sleep(0.1)
"""


@contextmanager
def kept_scratch() -> Iterator[Path]:
    """Give a scratch folder as elsewhere; should this process be killed, a small one of its own removes it at once."""
    with scratch_folder() as folder:
        # In a session of its own, so that Ctrl-C leaves it to its work.
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _KEEPER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield folder
        finally:
            assert keeper.stdin is not None
            keeper.stdin.close()
            keeper.wait()
