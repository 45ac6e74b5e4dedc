"""Set up distributed processes, devices and threads under torchrun, SLURM, or none."""

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch.utils import deterministic as filling

from crossmodalnet.errors import ResourceError

T = TypeVar("T")
logger = logging.getLogger(__name__)

# Smallest CPU batch per process: PyTorch is slow for single samples with small maps.
LEAST_SHARE = 2
# Missing processes are reported after this time.
PATIENCE_SECONDS = 2.0


class Launch(NamedTuple):
    """The ranks of a process in its launcher; `local` ones count on this machine."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    address: str
    port: int


def detect_launch(environment: Mapping[str, str]) -> Launch | None:
    """Read the ranks from torchrun's or SLURM's variables, None if alone; raise ResourceError if invalid."""
    # Compose files and templates set empty variables.
    given = {name: value for name, value in environment.items() if value.strip()}
    try:
        launch = _torchrun_launch(given) or _slurm_launch(given)
    except ValueError as error:
        raise ResourceError(
            f"RANK or SLURM variables in the environment are no numbers ({error}): unset them"
        ) from error
    if launch and not (0 <= launch.rank < launch.world_size and launch.address):
        raise ResourceError(
            f"RANK and WORLD_SIZE, or SLURM's variables of a step, name no process ({launch}): unset or correct them"
        )
    return launch


def _torchrun_launch(given: Mapping[str, str]) -> Launch | None:
    if "RANK" not in given or "WORLD_SIZE" not in given:
        return None
    return Launch(
        rank=int(given["RANK"]),
        world_size=int(given["WORLD_SIZE"]),
        local_rank=int(given.get("LOCAL_RANK", 0)),
        local_world_size=int(given.get("LOCAL_WORLD_SIZE", 1)),
        address=given.get("MASTER_ADDR", "127.0.0.1"),
        port=int(given.get("MASTER_PORT", 29500)),
    )


def _slurm_launch(given: Mapping[str, str]) -> Launch | None:
    """Read the ranks in a SLURM step; only srun numbers steps, so batch scripts give None."""
    world_size = int(given.get("SLURM_STEP_NUM_TASKS") or given.get("SLURM_NTASKS") or 1)
    if "SLURM_PROCID" not in given or "SLURM_STEP_ID" not in given or world_size < 2:
        return None
    rank, local_rank, job = (int(given.get(f"SLURM_{name}", 0)) for name in ("PROCID", "LOCALID", "JOB_ID"))
    tasks_here = given.get("SLURM_STEP_TASKS_PER_NODE") or given.get("SLURM_NTASKS_PER_NODE") or "1"
    local_world_size = int(re.split(r"\D", tasks_here)[0] or 1)  # for instance 8(x2)
    address = given.get("MASTER_ADDR") or first_host(given.get("SLURM_JOB_NODELIST", ""))
    port = int(given.get("MASTER_PORT", 20000 + job % 20000))
    return Launch(rank, world_size, local_rank, local_world_size, address, port)


def first_host(nodes: str) -> str:
    """Return the first host of a SLURM node list: `gpu007` for `gpu[007-010,12],login`."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", re.split(r",(?![^\[]*\])", nodes)[0])


def num_processes(devices: int | str, batch_size: int) -> int:
    """Choose the processes on this machine; auto: one per GPU, else per core with `LEAST_SHARE` samples each.

    Raises:
        ResourceError: more devices than GPUs, on a machine that has some.
    """
    available = torch.cuda.device_count()
    if devices != "auto":
        if 0 < available < int(devices):
            raise ResourceError(f"train.devices = {devices}, but this machine has {available} GPU(s)")
        return int(devices)
    if available:
        return available
    counts = range(1, len(os.sched_getaffinity(0)) + 1)
    return max((n for n in counts if batch_size % n == 0 and batch_size // n >= LEAST_SHARE), default=1)


@dataclass(frozen=True)
class Processes:
    """The distributed processes, seen from one with a rank and device; rank 0 writes files."""

    rank: int
    world_size: int
    local_world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """True for the process that writes files."""
        return self.rank == 0

    def mean(self, values: Sequence[float]) -> list[float]:
        """Average numbers over the processes."""
        return [total / self.world_size for total in self.sum(values)]

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sum numbers over the processes in double precision."""
        if self.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def gather(self, item: T) -> list[T]:
        """Collect an object from every process, ordered by rank."""
        if self.world_size == 1:
            return [item]
        items: list[T | None] = [None] * self.world_size
        dist.all_gather_object(items, item)
        return items  # type: ignore[return-value]

    def broadcast(self, item: T) -> T:
        """Send the main process's object to all."""
        if self.world_size == 1:
            return item
        items = [item]
        dist.broadcast_object_list(items, src=0, device=torch.device("cpu"))
        return items[0]


@contextmanager
def process_group(launch: Launch | None) -> Iterator[Processes]:
    """Join a launch's processes and leave at the end; raise ResourceError if GPUs or processes are missing."""
    local_rank, local_world_size = (launch.local_rank, launch.local_world_size) if launch else (0, 1)
    device = torch.device("cpu")
    if available := torch.cuda.device_count():
        if local_world_size > available:
            raise ResourceError(
                f"{local_world_size} processes were launched on this machine, which has {available} GPU(s)"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    if launch is None or launch.world_size == 1:
        yield Processes(0, 1, 1, device)
        return
    _meet(launch, device)
    try:
        yield Processes(launch.rank, launch.world_size, local_world_size, device)
    finally:
        dist.destroy_process_group()


def _meet(launch: Launch, device: torch.device) -> None:
    """Initialise torch.distributed; report after a while which processes are missing."""
    others = f"the other {launch.world_size - 1} of {launch.world_size} processes at {launch.address}:{launch.port}"
    source = (
        "RANK and WORLD_SIZE" if os.environ.get("RANK") else "SLURM's variables of a step of several tasks"
    )
    text = f"process {launch.rank} is waiting for {others} (by {source}): start them too, or unset these variables"
    timer = threading.Timer(PATIENCE_SECONDS, logger.warning, [text])
    timer.daemon = True
    timer.start()
    os.environ.update(MASTER_ADDR=launch.address, MASTER_PORT=str(launch.port))
    # Gloo sends objects and numbers on the CPU, NCCL gradients on GPUs.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, rank=launch.rank, world_size=launch.world_size)
    except (dist.DistError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ResourceError(f"process {launch.rank} could not meet {others}: {reason}") from error
    finally:
        timer.cancel()


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
