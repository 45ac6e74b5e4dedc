"""Peak memory of a training step and of inference: weights, gradients, optimizer, activations, inputs and outputs.

On a GPU it is what PyTorch's allocator has handed out at most. On the CPU it is by how much the resident memory of
this process grows, read every millisecond by a thread; meanwhile the C library (glibc) returns freed tensors to the
system at once, so that the growth is that of live tensors and not of what is kept for later. It is best measured in
a process that has not computed before, whose heap has no holes that new tensors would fill.
Either counts from a moment at which the libraries are loaded and the network is not yet built.
"""

import ctypes
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

from pipeline.evaluation.workload import Workload

MB = 2**20
INTERVAL_SECONDS = 0.001

# Of glibc's malloc.h. Blocks larger than the first are mapped one by one, and unmapped when freed; of the heap's free
# end, as much as the second stays.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1


@dataclass(frozen=True)
class Memory:
    """Peak memory, MiB."""

    step_mb: float
    inference_mb: float


class MemoryGauge:
    """Reads the memory in use and its peak, on a GPU or of this process."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._process = psutil.Process()
        self._peak = 0

    def now(self) -> int:
        """Bytes in use."""
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        return int(self._process.memory_info().rss)

    def peak(self) -> int:
        """Most bytes in use while `watching` was last entered."""
        return self._peak

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Find the peak of what happens inside."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            yield
            torch.cuda.synchronize(self._device)
            self._peak = torch.cuda.max_memory_allocated(self._device)
            return
        self._peak = self.now()
        stop = threading.Event()
        thread = threading.Thread(target=self._sample, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self._peak = max(self._peak, self.now())

    def _sample(self, stop: threading.Event) -> None:
        while not stop.wait(INTERVAL_SECONDS):
            self._peak = max(self._peak, self.now())


def measure_memory(work: Workload) -> Memory:
    """Find the peak memory of inference and of a training step.

    Raises:
        UsageError: the network cannot be built.
    """
    gauge = MemoryGauge(work.device)
    with _returning_freed():
        work.step(work.build_reference())()  # loads the libraries, starts the threads
        work.build()  # imports its own modules: timm alone takes 15 MiB
        gc.collect()
        before = gauge.now()
        network = work.build()
        infer = work.inference(network)
        with gauge.watching():
            infer()
        inference = gauge.peak()
        step = work.step(network)
        with gauge.watching():
            step()
            step()  # the first one makes Adam's moments, the second has them from its start
    return Memory(
        step_mb=round((gauge.peak() - before) / MB, 1), inference_mb=round((inference - before) / MB, 1)
    )


@contextmanager
def _returning_freed() -> Iterator[None]:
    """Have glibc return freed blocks above 64 KiB to the system; other C libraries do as they do."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    libc.malloc_trim(0)
    libc.mallopt(M_MMAP_THRESHOLD, 64 * 2**10)
    try:
        yield
    finally:
        # Where glibc's own adaptation ends in a training; it is off from now on.
        libc.mallopt(M_MMAP_THRESHOLD, 32 * MB)
        libc.mallopt(M_TRIM_THRESHOLD, 64 * MB)
