"""Several single-threaded worker processes at once."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Read by the libraries when a worker imports them; one thread each is what makes ANTs' results reproducible.
SINGLE_THREADED = {
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def num_workers(requested: int) -> int:
    """The number asked for, or one per core this process may use where `requested` is 0."""
    return requested or len(os.sched_getaffinity(0))


def run_parallel(
    function: Callable[[T], R], tasks: Sequence[T], *, workers: int, environment: dict[str, str] | None = None
) -> Iterator[tuple[T, R]]:
    """Apply a module-level function to every task in worker processes.

    Args:
        function: called with one task; what it raises is raised here.
        tasks: picklable.
        workers: processes at once; `spawn`, since ITK's thread pool can deadlock after a fork.
        environment: variables the workers see from their first import on.

    Yields:
        Each task with its result, in the order in which they finish.
    """
    context = multiprocessing.get_context("spawn")
    with (
        _environment({**SINGLE_THREADED, **(environment or {})}),
        ProcessPoolExecutor(
            max(1, min(workers, len(tasks))), mp_context=context, initializer=_end_with_parent
        ) as pool,
    ):
        futures = {pool.submit(function, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """Make a worker end when its parent is gone: after `kill -9` it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_await, args=(parent,), daemon=True).start()


def _await(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
