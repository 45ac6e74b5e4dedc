"""Apply a function to many cases at once, on workers of this machine or of the user's scheduler."""

import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import Field

from crossmodalnet.config import Config
from crossmodalnet.errors import ResourceError
from crossmodalnet.io.console import name_of

if TYPE_CHECKING:
    from distributed import Future

T = TypeVar("T")
R = TypeVar("R")
logger = logging.getLogger(__name__)

MB, GB = 2**20, 2**30
# Of the free memory; the rest is for what else runs.
SHARE = 0.9


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
        description="address of a dask.distributed scheduler, for instance tcp://login1:8786; null: this machine",
    )


ALL_CORES = RuntimeConfig()


@dataclass(frozen=True)
class CaseCost:
    """Peak memory of a worker: a base in MiB, and bytes per voxel of the largest image of a case."""

    base_mb: float
    bytes_per_voxel: float = 0.0

    def bytes(self, num_voxels: int) -> int:
        """Peak memory of a worker whose largest image has so many voxels."""
        return int(self.base_mb * MB + self.bytes_per_voxel * num_voxels)


@dataclass(frozen=True)
class Work:
    """A kind of cases.

    Attributes:
        what: what is done to them, in a word, for the log.
        cost: memory of a worker.
        images: images, of which the largest decides how much that is.
        environment: variables that workers see from their first import on.
        kept: whether the next run reuses finished cases.
    """

    what: str
    cost: CaseCost
    images: Iterable[Path] = ()
    environment: Mapping[str, str] | None = None
    kept: bool = False

    @property
    def case_bytes(self) -> int:
        """Memory of a worker with the largest case."""
        return self.cost.bytes(max(map(count_voxels, self.images), default=0))


class Workers(Protocol):
    """Workers that compute cases: `LocalWorkers` or `DaskWorkers` of `pipeline.runtime.dask_workers`.

    Attributes:
        at_once: cases to hand out before the first result.
        gone: message for the case that no worker is left.
    """

    at_once: int
    gone: str

    def submit(self, function: Callable[[T], Any], task: T) -> "Future":
        """Hand out a case."""

    def result(self, future: "Future") -> Any:
        """Give the result of a finished case, or raise its error."""


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
        ResourceError: cases killed three workers each, raised when the others are done; or no worker is left.
    """
    if tasks:
        with _workers_of(work, len(tasks), runtime) as workers:
            yield from _results(workers, function, tasks, work)


def _workers_of(work: Work, num_cases: int, runtime: RuntimeConfig) -> AbstractContextManager[Workers]:
    from pipeline.runtime.dask_workers import dask_workers, local_workers

    environment = work.environment or {}
    need = f"a case takes up to {work.case_bytes / GB:.1f} GB"
    if runtime.scheduler:
        logger.info("%s: %d cases by %s, %s", work.what, num_cases, runtime.scheduler, need)
        return dask_workers(runtime.scheduler, environment)
    import psutil
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    free = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    count = choose_workers(runtime.workers, num_cases, work.case_bytes, cores=CPU_COUNT, free_bytes=free)
    logger.info(
        "%s: %d cases by %d workers on %d cores; %s, %.1f GB are free",
        work.what, num_cases, count, CPU_COUNT, need, free / GB,
    )  # fmt: skip
    if count * work.case_bytes > free:
        logger.warning("%s: too little memory for %d workers", work.what, count)
    return local_workers(count, environment)


def choose_workers(requested: int, num_cases: int, case_bytes: int, *, cores: int, free_bytes: int) -> int:
    """Choose the number of workers: `runtime.workers`, or where that is 0 as many as cores and memory allow.

    >>> choose_workers(0, 20, 3 * GB, cores=8, free_bytes=16 * GB)
    4
    """
    fitting = int(SHARE * free_bytes / case_bytes)
    return max(1, min(requested or min(cores, fitting), num_cases))


def count_voxels(path: Path) -> int:
    """Give the number of voxels of an image by its header.

    Other formats, folders of slices and damaged files count a voxel per byte: so much have 16-bit images that are
    compressed to a half.
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        if path.is_file() and path.name.endswith((".nii", ".nii.gz")):
            return prod(int(n) for n in nib.load(path).shape)
        files = path.iterdir() if path.is_dir() else (path,)
        return sum(file.stat().st_size for file in files)
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError):
        return 0


def _results(
    workers: Workers, function: Callable[[T], R], tasks: Sequence[T], work: Work
) -> Iterator[tuple[T, R]]:
    """Give results as they come; name the cases that killed their workers when the others are done."""
    from distributed import KilledWorker, as_completed
    from distributed.scheduler import NoWorkerError

    remaining = iter(tasks)
    running: dict[Future, T] = {}

    def hand_out(most: int) -> list["Future"]:
        new = {workers.submit(function, task): task for task in islice(remaining, most)}
        running.update(new)
        return list(new)

    killed: list[str] = []
    done = 0
    first = hand_out(workers.at_once)
    finished = as_completed(first, loop=first[0].client.loop)
    for batch in finished.batches():
        answers: list[tuple[T, R]] = []
        fault: Exception | None = None
        is_lost = False
        for future in batch:
            task = running.pop(future)
            try:
                answers.append((task, workers.result(future)))
                future.release()
            except (KilledWorker, MemoryError) as error:
                killed.append(name_of(task) or str(task))
                reason = "out of memory" if isinstance(error, MemoryError) else "three workers died with it"
                logger.warning("%s: given up: %s", killed[-1], reason)
            except Exception as error:
                fault = error
                is_lost = isinstance(error, NoWorkerError) or future.status in ("cancelled", "lost")
        if fault is None:
            finished.update(hand_out(len(batch)))
        done += len(answers)
        yield from answers
        if is_lost:
            raise ResourceError(f"{work.what}: {workers.gone}; {_kept(done, work)}") from fault
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
