"""Apply a function to many cases in parallel, locally or on the user's dask cluster."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
from pydantic import Field

from crossmodalnet.config import Config
from crossmodalnet.errors import ResourceError
from crossmodalnet.io.console import count, name_of

if TYPE_CHECKING:
    from pipeline.runtime.dask_workers import Workers

T = TypeVar("T")
R = TypeVar("R")
logger = logging.getLogger(__name__)

MB, GB = 2**20, 2**30


class RuntimeConfig(Config):
    """Section `runtime`; no stage of dvc.yaml depends on it, so changing it reruns nothing."""

    workers: int = Field(
        0, ge=0, description="cases computed at once on this machine; 0: one per core, as far as memory allows"
    )
    scheduler: str | None = Field(
        None,
        min_length=1,
        description="address of a dask.distributed scheduler, for instance tcp://login1:8786; null: this machine",
    )


ALL_CORES = RuntimeConfig()


@dataclass(frozen=True)
class CaseCost:
    """Peak memory of a worker: base in MiB, plus bytes per voxel of a case's largest image."""

    base_mb: float
    bytes_per_voxel: float = 0.0

    def bytes(self, num_voxels: int) -> int:
        """Return the peak memory for a largest image of `num_voxels`."""
        return int(self.base_mb * MB + self.bytes_per_voxel * num_voxels)


@dataclass(frozen=True)
class Work:
    """A kind of case; `environment` is set before a worker's first import; `kept`: the next run reuses cases."""

    what: str
    cost: CaseCost
    images: Iterable[Path] = ()
    environment: Mapping[str, str] | None = None
    kept: bool = False

    @property
    def case_bytes(self) -> int:
        """Memory of a worker for the largest case."""
        return self.cost.bytes(max(map(count_voxels, self.images), default=0))


def run_cases(
    function: Callable[[T], R], tasks: Sequence[T], work: Work, runtime: RuntimeConfig = ALL_CORES
) -> Iterator[tuple[T, R]]:
    """Apply a module-level function to picklable tasks in parallel; yield results in order of completion.

    Cases of a killed worker are repeated. An error of the function is raised here and ends the run.

    Raises:
        ResourceError: cases killed three workers each (raised after all others finish), or no worker is left.
    """
    if tasks:
        with _workers_of(work, len(tasks), runtime) as workers:
            yield from _results(workers, function, tasks, work)


def _workers_of(work: Work, num_cases: int, runtime: RuntimeConfig) -> AbstractContextManager["Workers"]:
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    from pipeline.runtime.dask_workers import dask_workers, local_workers

    environment, need = work.environment or {}, work.case_bytes
    logger.info("%s: %s, each up to %.1f GB", work.what, count(num_cases, "case"), need / GB)
    if runtime.scheduler:
        return dask_workers(runtime.scheduler, environment)
    free = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    number = choose_workers(runtime.workers, num_cases, need, cores=CPU_COUNT, free_bytes=free)
    logger.info("%s: %s on %s, %.1f GB free", work.what, count(number, "worker"), count(CPU_COUNT, "core"), free / GB)
    if number * need > free:
        logger.warning("%s: too little memory for %s", work.what, count(number, "worker"))
    return local_workers(number, environment)


def choose_workers(requested: int, num_cases: int, case_bytes: int, *, cores: int, free_bytes: int) -> int:
    """Return `runtime.workers`, or if it is 0 as many workers as cores and memory allow."""
    fitting = int(0.9 * free_bytes / case_bytes)  # a tenth stays free
    return max(1, min(requested or min(cores, fitting), num_cases))


def count_voxels(path: Path) -> int:
    """Return an image's voxels by its header, else its bytes (16-bit voxels compressed to a half)."""
    import nibabel as nib

    if path.name.endswith((".nii", ".nii.gz")):
        with suppress(Exception):  # no valid header
            return prod(int(n) for n in nib.load(path).shape)
    files = path.iterdir() if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())


def _results(workers: "Workers", function: Callable[[T], R], tasks: Sequence[T], work: Work) -> Iterator[tuple[T, R]]:
    """Yield results as they finish; finally report the cases that killed their workers."""
    from distributed import KilledWorker, as_completed
    from distributed.scheduler import NoWorkerError

    remaining = iter(tasks)
    running: dict[Any, T] = {}

    def hand_out(most: int) -> list[Any]:
        new = {workers.submit(function, task): task for task in islice(remaining, most)}
        running.update(new)
        return list(new)

    def kept() -> str:
        return f"{count(done, 'finished case')} kept" if work.kept else "run it again"

    killed: list[str] = []
    done = 0
    finished = as_completed(hand_out(workers.at_once), loop=workers.client.loop)
    for batch in finished.batches():
        answers: list[tuple[T, R]] = []
        fault, is_lost = None, False
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
                fault, is_lost = error, isinstance(error, NoWorkerError) or future.status in ("cancelled", "lost")
        # Not earlier: a case could kill a worker whose result is not here yet.
        finished.update(hand_out(0 if fault else len(batch)))
        done += len(answers)
        yield from answers
        if fault and is_lost:
            raise ResourceError(f"{work.what}: {workers.lost_message}; {kept()}") from fault
        if fault:
            raise fault
    if killed:
        raise ResourceError(
            f"{work.what}: {len(killed)} of {len(tasks)} cases ended every process that computed them, most often for "
            f"want of memory: {', '.join(sorted(killed))}. Set runtime.workers to less, or use a machine with more "
            f"memory; {kept()}"
        )
