"""Apply a function to many cases at once, on workers of this machine or of the user's scheduler."""

import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import nibabel as nib
from nibabel.filebasedimages import ImageFileError
from pydantic import Field

from crossmodalnet.config import Config
from crossmodalnet.errors import ResourceError
from crossmodalnet.io.console import name_of

# Of the free memory; the rest is for what else runs.
SHARE = 0.9


@dataclass(frozen=True)
class CaseCost:
    """Peak memory of a worker: measured on images of two sizes (docs/clusters.md has the figures).

    Attributes:
        base_mb: interpreter, libraries and what does not grow with the image, MiB.
        bytes_per_voxel: what an image adds, per voxel of the largest one of a case.
    """

    base_mb: float
    bytes_per_voxel: float = 0.0

    def bytes(self, num_voxels: int) -> int:
        """Peak memory of a worker whose largest image has so many voxels."""
        return int(self.base_mb * MB + self.bytes_per_voxel * num_voxels)


@dataclass(frozen=True)
class Plan:
    """How many workers there are, and why.

    Attributes:
        workers: workers at once, 1 or more.
        why: reason, for the log.
    """

    workers: int
    why: str


class RuntimeConfig(Config):
    """Section `runtime`: in no `params` of dvc.yaml, so that changing it reruns nothing."""

    workers: int = Field(
        0,
        ge=0,
        description="cases computed at once on this machine; 0: one per core, as far as memory allows",
    )
    scheduler: str | None = Field(
        None,
        min_length=1,
        description="address of a scheduler of dask.distributed whose workers compute the cases, for instance "
        "tcp://login1:8786; null: processes of this machine",
    )


if TYPE_CHECKING:
    from distributed import Client


logger = logging.getLogger(__name__)


T = TypeVar("T")
R = TypeVar("R")

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
    from pipeline.runtime.dask_workers import local_client

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
    from pipeline.runtime.dask_workers import Place, call_there, num_threads_of, pack, remote_client, unpack

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


MB, GB = 2**20, 2**30


def plan_workers(
    requested: int, num_cases: int, case_bytes: int, *, cores: int, free_bytes: int, largest: str = ""
) -> Plan:
    """Choose the number of workers.

    Args:
        requested: `runtime.workers`; 0 leaves it to cores and memory.
        num_cases: cases to compute; more workers would have nothing to do.
        case_bytes: memory of a worker with the largest case.
        cores: cores that this process may use.
        free_bytes: memory that can be had.
        largest: shape of the largest image in words, where images decide.

    >>> plan_workers(0, 20, 3 * GB, cores=8, free_bytes=16 * GB, largest="512 x 512 x 250").why
    '4 of 8 cores, since a case takes up to 3.0 GB by its largest image (512 x 512 x 250) and 16.0 GB are free'
    """
    fitting = int(SHARE * free_bytes / case_bytes)
    by_image = f" by its largest image ({largest})" if largest else ""
    memory = f"a case takes up to {case_bytes / GB:.1f} GB{by_image}"
    free = f"{free_bytes / GB:.1f} GB are free"
    if requested:
        fits = "" if requested <= max(1, fitting) else f"; too little for so many: {memory} and {free}"
        return Plan(max(1, min(requested, num_cases)), f"runtime.workers = {requested}{fits}")
    if fitting < 1:
        return Plan(1, f"too little memory even for one: {memory} and {free}")
    workers = max(1, min(cores, fitting, num_cases))
    if fitting < min(cores, num_cases):
        return Plan(workers, f"{workers} of {cores} cores, since {memory} and {free}")
    return Plan(workers, f"{workers} of {cores} cores; {memory}, {free}")


def largest_image(paths: Iterable[Path]) -> tuple[int, str]:
    """Give the number of voxels of the largest image and its shape in words, by headers alone.

    What has no readable header here (other formats, folders of slices, damaged files) counts a voxel per byte, as
    16-bit images that are compressed to a half have.
    """
    sizes = [(prod(shape), " x ".join(map(str, shape))) for path in paths for shape in [_shape(path)]]
    return max(sizes, default=(0, ""))


def _shape(path: Path) -> tuple[int, ...]:
    try:
        if path.is_file() and path.name.endswith((".nii", ".nii.gz")):
            return tuple(int(n) for n in nib.load(path).shape)
        files = path.iterdir() if path.is_dir() else (path,)
        return (sum(file.stat().st_size for file in files),)
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError):
        return (0,)
