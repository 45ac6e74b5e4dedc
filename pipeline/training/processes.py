"""The processes that train together, their devices and threads."""

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.utils import deterministic as filling

from crossmodalnet.errors import ResourceError

logger = logging.getLogger(__name__)


T = TypeVar("T")


@dataclass(frozen=True)
class Launch:
    """This process's place among those that a launcher started; `local` counts on this machine."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    address: str
    port: int


def detect_launch(environment: Mapping[str, str]) -> Launch | None:
    """Find out whether a launcher started this process, torchrun or srun; None where it runs on its own.

    The batch script of a SLURM job is not taken for a task: only srun numbers its step.
    """
    # Compose files and templates write variables that are empty: as if they were not there.
    environment = {name: value for name, value in environment.items() if value.strip()}
    if "RANK" in environment and "WORLD_SIZE" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        rank, world, local, local_world = (_number(environment, name, 0) for name in names)
        if not 0 <= rank < world:
            raise ResourceError(
                f"RANK = {rank} and WORLD_SIZE = {world} name no process: unset both, or correct them"
            )
        port = _number(environment, "MASTER_PORT", 29500)
        return Launch(
            rank, world, local, max(1, local_world), environment.get("MASTER_ADDR", "127.0.0.1"), port
        )
    tasks = next((n for n in ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS") if n in environment), "")
    world = _number(environment, tasks, 1)
    if "SLURM_PROCID" not in environment or "SLURM_STEP_ID" not in environment or world < 2:
        return None
    if "MASTER_ADDR" not in environment and "SLURM_JOB_NODELIST" not in environment:
        raise ResourceError(
            f"{tasks} = {world}, but neither MASTER_ADDR nor SLURM_JOB_NODELIST says where to meet"
        )
    tasks_here = (
        environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_NTASKS_PER_NODE") or "1"
    )
    return Launch(
        rank=_number(environment, "SLURM_PROCID", 0),
        world_size=world,
        local_rank=_number(environment, "SLURM_LOCALID", 0),
        local_world_size=int(re.split(r"\D", tasks_here)[0] or 1),  # from such as 8(x2)
        address=environment.get("MASTER_ADDR") or first_host(environment["SLURM_JOB_NODELIST"]),
        port=_number(environment, "MASTER_PORT", 20000 + _number(environment, "SLURM_JOB_ID", 0) % 20000),
    )


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(environment.get(name, default))
    except ValueError as error:
        raise ResourceError(
            f"{name} = {environment[name]!r} in the environment is no number: unset it"
        ) from error


def first_host(nodes: str) -> str:
    """Give the first host of a SLURM node list: `gpu[007-010,12],login` gives `gpu007`."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", re.split(r",(?![^\[]*\])", nodes)[0])


# Samples per process and step on the CPU.
LEAST_SHARE = 2


def num_processes(devices: int | str, batch_size: int) -> int:
    """How many processes this machine should run for `train.devices`.

    `auto` is one per GPU. Without a GPU it is one per core, as far as they can share `batch_size` equally and each
    has two samples: with a single one, PyTorch leaves its fast convolutions for small maps (docs/benchmarks.md).

    Raises:
        ResourceError: more devices than GPUs, on a machine that has some.
    """
    available = torch.cuda.device_count()
    if devices == "auto":
        return available or _num_sharing(batch_size, len(os.sched_getaffinity(0)))
    if 0 < available < int(devices):
        raise ResourceError(f"train.devices = {devices}, but this machine has {available} GPU(s)")
    return int(devices)


def _num_sharing(batch_size: int, limit: int) -> int:
    shares = (count for count in range(1, limit + 1) if batch_size % count == 0)
    return max((count for count in shares if batch_size // count >= LEAST_SHARE), default=1)


@dataclass(frozen=True)
class Processes:
    """The processes that train together, seen from one of them.

    Attributes:
        rank: rank of this process, 0 to `world_size - 1`; 0 writes the files.
        world_size: number of the processes.
        local_world_size: number of the processes on this machine.
        device: device that this process computes on.
    """

    rank: int
    world_size: int
    local_world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def mean(self, values: Sequence[float]) -> list[float]:
        """Average numbers over the processes."""
        return [total / self.world_size for total in self.sum(values)]

    def sum(self, values: Sequence[float]) -> list[float]:
        """Add numbers up over the processes, in double precision."""
        if self.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        numbers: list[float] = tensor.tolist()
        return numbers

    def gather(self, item: T) -> list[T]:
        """Collect an object from every process, in the order of ranks."""
        if self.world_size == 1:
            return [item]
        items: list[T | None] = [None] * self.world_size
        dist.all_gather_object(items, item)
        return items  # type: ignore[return-value]

    def broadcast(self, item: T) -> T:
        """Give every process the main one's object."""
        if self.world_size == 1:
            return item
        items = [item]
        dist.broadcast_object_list(items, src=0, device=torch.device("cpu"))
        return items[0]


@contextmanager
def process_group(launch: Launch | None) -> Iterator[Processes]:
    """Join the others that were launched with this process, and leave them at the end.

    Raises:
        ResourceError: more processes than GPUs on a machine that has some.
    """
    local_rank, local_world = (launch.local_rank, launch.local_world_size) if launch else (0, 1)
    device = _device(local_rank, local_world)
    if launch is None or launch.world_size == 1:
        yield Processes(0, 1, 1, device)
        return
    # Gloo passes objects and numbers on the CPU, NCCL the gradients on GPUs.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    rendezvous = f"tcp://{launch.address}:{launch.port}"
    os.environ.update(MASTER_ADDR=launch.address, MASTER_PORT=str(launch.port))
    method = "env://" if os.environ.get("RANK") else rendezvous
    with _told_whom_it_waits_for(launch):
        dist.init_process_group(backend, init_method=method, rank=launch.rank, world_size=launch.world_size)
    try:
        yield Processes(launch.rank, launch.world_size, local_world, device)
    finally:
        dist.destroy_process_group()


# A process that is not joined within this time says so; where all were started, they meet sooner.
PATIENCE_SECONDS = 2.0


@contextmanager
def _told_whom_it_waits_for(launch: Launch) -> Iterator[None]:
    """Say after a while which processes have not come; an error of theirs becomes one line.

    Raises:
        ResourceError: they never came, or cannot be reached.
    """
    others = f"the other {launch.world_size - 1} of {launch.world_size} processes at {launch.address}:{launch.port}"
    told = (
        "by RANK and WORLD_SIZE"
        if os.environ.get("RANK")
        else "by SLURM's variables of a step of several tasks"
    )
    text = f"process {launch.rank} is waiting for {others} (told of {told}): start them too, or unset these variables"
    timer = threading.Timer(PATIENCE_SECONDS, logger.warning, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    except (dist.DistError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ResourceError(f"process {launch.rank} could not meet {others}: {reason}") from error
    finally:
        timer.cancel()


def _device(local_rank: int, local_world: int) -> torch.device:
    available = torch.cuda.device_count()
    if not available:
        return torch.device("cpu")
    if local_world > available:
        raise ResourceError(
            f"{local_world} processes were launched on this machine, which has {available} GPU(s)"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


@contextmanager
def reproducible(processes: Processes, num_threads: int) -> Iterator[None]:
    """Compute with this process's share of the cores and, on the CPU, with deterministic algorithms alone.

    Args:
        processes: processes that share this machine.
        num_threads: threads of all processes together; 0 is one per core.
    """
    threads = (num_threads or len(os.sched_getaffinity(0))) // processes.local_world_size
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill = getattr(filling, "fill_uninitialized_memory")  # noqa: B009  (a property of the module)
    torch.set_num_threads(max(1, threads))
    torch.use_deterministic_algorithms(processes.device.type == "cpu")
    # Writing NaN into fresh tensors guards against bugs of operators, and costs time.
    setattr(filling, "fill_uninitialized_memory", False)  # noqa: B010
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        setattr(filling, "fill_uninitialized_memory", fill)  # noqa: B010
