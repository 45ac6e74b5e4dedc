"""A function applied to many cases at once: by workers of this machine, or of a scheduler of the user's."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.runtime.console import name_of
from pipeline.runtime.cost import CaseCost, Plan, largest_image, plan_workers
from pipeline.runtime.errors import ResourceError
from pipeline.runtime.params import RuntimeConfig

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")
R = TypeVar("R")
logger = logging.getLogger(__name__)

ALL_CORES = RuntimeConfig()


@dataclass(frozen=True)
class Work:
    """What kind of cases are to be computed.

    Attributes:
        what: what is done to them, in a word, for the log.
        cost: memory of a worker.
        images: images of which the largest tells how much that is.
        environment: variables that workers see from their first import on.
        kept: whether the next run finds finished cases again.
    """

    what: str
    cost: CaseCost
    images: Iterable[Path] = ()
    environment: Mapping[str, str] | None = None
    kept: bool = False


def run_cases(
    function: Callable[[T], R], tasks: Sequence[T], work: Work, runtime: RuntimeConfig = ALL_CORES
) -> Iterator[tuple[T, R]]:
    """Apply a module-level function to every task, in single-threaded processes.

    A worker that is killed costs the time of its case, which another one begins again. What a function raises is raised
    here, and ends all.

    Args:
        function: called with one task; files it takes by their paths.
        tasks: picklable.
        work: kind of the work.
        runtime: section `runtime`.

    Yields:
        Each task with its result, in the order in which they finish.

    Raises:
        ResourceError: cases that killed three workers, named after the others are done; or no scheduler.
    """
    if not tasks:
        return
    if runtime.scheduler:
        yield from _run_there(function, tasks, work, runtime.scheduler)
    else:
        yield from _run_here(function, tasks, work, runtime.workers)


def _run_here(
    function: Callable[[T], R], tasks: Sequence[T], work: Work, workers: int
) -> Iterator[tuple[T, R]]:
    plan = plan_here(work, len(tasks), workers)
    logger.info("%s: %d cases, %s", work.what, len(tasks), plan.why)
    from pipeline.runtime.local import local_client

    with local_client(plan.workers, work.environment or {}) as client:
        yield from _results(
            client, tasks, work, function, lambda result: result, at_once=plan.workers,
            gone="no worker process is left, most often for want of memory",
        )  # fmt: skip


def plan_here(work: Work, num_cases: int, requested: int) -> Plan:
    """Choose how many workers this machine has for so many cases."""
    import psutil
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    num_voxels, shape = largest_image(work.images)
    free = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    need = work.cost.bytes(num_voxels)
    return plan_workers(requested, num_cases, need, cores=CPU_COUNT, free_bytes=free, largest=shape)


def _run_there(
    function: Callable[[T], R], tasks: Sequence[T], work: Work, address: str
) -> Iterator[tuple[T, R]]:
    from pipeline.runtime.remote import Place, call_there, num_threads_of, pack, remote_client, unpack

    num_voxels, _ = largest_image(work.images)
    with remote_client(address) as client:
        num_workers, num_threads = num_threads_of(client)
        logger.info(
            "%s: %d cases by %s, %d workers with %d threads at present; a case takes up to %.1f GB",
            work.what, len(tasks), address, num_workers, num_threads, work.cost.bytes(num_voxels) / 2**30,
        )  # fmt: skip
        calls = [pack(function, task) for task in tasks]
        place = Place.here(work.environment or {})
        # All at once, so that a cluster that grows by need sees how much there is to do.
        yield from _results(
            client, tasks, work, call_there, unpack, calls, place, at_once=len(tasks),
            gone="the scheduler is gone",
        )  # fmt: skip


def _results(
    client: "Client", tasks: Sequence[T], work: Work, function: Callable[..., Any],
    read: Callable[[Any], R], calls: Sequence[Any] | None = None, *others: Any, at_once: int, gone: str,
) -> Iterator[tuple[T, R]]:  # fmt: skip
    """Give results as they come; name the cases that killed their workers after the others are done.

    Where only as many cases are handed out as there are workers, a worker's result is fetched before it begins another
    case: neither does it wait for that case, nor is it lost, and waited for in vain, when that case kills the worker.
    """
    from distributed import Future, KilledWorker, as_completed

    remaining = iter(zip(calls or tasks, tasks, strict=True))
    futures: dict[Future, T] = {}

    def hand_out(most: int) -> list[Future]:
        # pure=False: a key of its own for each, so that no earlier answer is taken for this one.
        new = {
            client.submit(function, call, *others, pure=False): task for call, task in islice(remaining, most)
        }
        futures.update(new)
        return list(new)

    killed: list[str] = []
    done = 0
    finished = as_completed(hand_out(at_once), loop=client.loop)
    for batch in finished.batches():
        answers: list[tuple[T, R]] = []
        fault: Exception | None = None
        lost = False
        for future in batch:
            task = futures.pop(future)
            try:
                answers.append((task, read(future.result())))
            except (KilledWorker, MemoryError) as error:
                killed.append(name_of(task) or str(task))
                logger.warning("%s: given up: %s", killed[-1], _brief(error))
            except Exception as error:
                fault, lost = error, lost or future.status in ("cancelled", "lost")
            else:
                future.release()
        if fault is None:
            finished.update(hand_out(len(batch)))
        done += len(answers)
        yield from answers
        if lost:
            raise ResourceError(f"{work.what}: {gone}; {_kept(done, work)}") from fault
        if fault is not None:
            raise fault
    if killed:
        raise ResourceError(
            f"{work.what}: {len(killed)} of {len(tasks)} cases ended every process that computed them, most often for "
            f"want of memory: {', '.join(sorted(killed))}. Set runtime.workers to less, or use a machine with more "
            f"memory; {_kept(done, work)}"
        )


def _kept(done: int, work: Work) -> str:
    return f"the {done} finished cases are kept" if work.kept else "run it again"


def _brief(error: BaseException) -> str:
    return "out of memory" if isinstance(error, MemoryError) else "three workers died with it"
