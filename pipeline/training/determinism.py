"""Threads and deterministic algorithms of PyTorch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils import deterministic as filling

from pipeline.training.processes import Processes


@contextmanager
def reproducible(processes: Processes, num_threads: int) -> Iterator[None]:
    """Compute with this process's share of `num_threads` (0: all cores), deterministically on the CPU."""
    threads = (num_threads or len(os.sched_getaffinity(0))) // processes.local_world_size
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill = getattr(filling, "fill_uninitialized_memory")  # noqa: B009  (a property of the module)
    torch.set_num_threads(max(1, threads))
    torch.use_deterministic_algorithms(processes.device.type == "cpu")
    # Filling fresh tensors with NaN only guards against operator bugs, and costs time.
    setattr(filling, "fill_uninitialized_memory", False)  # noqa: B010
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        setattr(filling, "fill_uninitialized_memory", fill)  # noqa: B010
