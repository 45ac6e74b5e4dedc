"""Train in one process per device: torchrun starts the stage again, and its processes meet here."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TypeVar

import psutil
import torch
import torch.distributed as dist

from crossmodalnet import errors
from crossmodalnet.errors import CrossModalNetError, InterruptedRunError, ResourceError
from crossmodalnet.io.console import count
from crossmodalnet.io.outputs import write_json
from crossmodalnet.processes import scratch_folder

T = TypeVar("T")
logger = logging.getLogger(__name__)

# Variables for child processes: the error file, and the stage's process.
OUTCOME = "CROSSMODALNET_OUTCOME"
LAUNCHER = "CROSSMODALNET_LAUNCHER"


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

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sum numbers over the processes in double precision."""
        if self.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def gather(self, item: T) -> list[T]:
        """Collect an object from every process, ordered by rank."""
        items = [item] * self.world_size
        if self.world_size > 1:
            dist.all_gather_object(items, item)
        return items

    def broadcast(self, item: T) -> T:
        """Send the main process's object to all."""
        items = [item]
        if self.world_size > 1:
            dist.broadcast_object_list(items, src=0, device=torch.device("cpu"))
        return items[0]


def run_on_devices(
    work: Callable[[Processes], None], *, devices: int | str, batch_size: int, command: list[str]
) -> None:
    """Run a stage's work in one process per device, and raise the errors of any process.

    `devices` is `train.devices`, ignored under an outer torchrun; `command` leads here again (`python -m stages`).
    """
    launched = dist.is_torchelastic_launched()
    if not launched and os.environ.get("SLURM_STEP_NUM_TASKS", "1") > "1":
        logger.warning("SLURM tasks do not train together: start torchrun once per node (docs/mmwhs.md)")
    if not launched and (count := num_processes(devices, batch_size)) > 1:
        start_processes(count, command)
        return
    try:
        with process_group() as processes:
            work(processes)
    except CrossModalNetError as error:
        # The parent stage reports the error once.
        if OUTCOME not in os.environ:
            raise
        write_json(Path(os.environ[OUTCOME]), {"kind": type(error).__name__, "message": str(error)})


def num_processes(devices: int | str, batch_size: int) -> int:
    """Choose the processes on this machine; auto: one per GPU, else per core with two samples each.

    ResourceError for more devices than GPUs, on a machine that has some.
    """
    available = torch.cuda.device_count()
    if devices != "auto":
        if 0 < available < int(devices):
            raise ResourceError(f"train.devices = {devices}, but this machine has {count(available, 'GPU')}")
        return int(devices)
    if available:
        return available
    # PyTorch is slow for single samples with small maps.
    counts = range(1, len(os.sched_getaffinity(0)) + 1)
    return max((n for n in counts if batch_size % n == 0 and batch_size // n >= 2), default=1)


def start_processes(count: int, command: list[str]) -> None:
    """Run `python -m stages COMMAND` in `count` processes under torchrun, forwarding signals and errors.

    InterruptedRunError for a signal before the training began, ResourceError if processes died without our errors.
    """
    with scratch_folder() as folder:
        outcome = folder / "outcome.json"
        environment = {
            **os.environ,
            OUTCOME: str(outcome),
            LAUNCHER: str(os.getpid()),
            "OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // count)),
        }
        torchrun = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1",
            f"--nproc-per-node={count}", "--shutdown-timeout=600", f"--log-dir={folder}/logs",
            "-m", "stages",
        ]  # fmt: skip
        # Its own session, so Ctrl-C reaches it once, through this process.
        child = subprocess.Popen([*torchrun, *command], env=environment, start_new_session=True)
        received: list[int] = []

        def forward(number: int, frame: FrameType | None) -> None:
            if not received:
                child.send_signal(signal.SIGTERM)
            received.append(number)

        with _handling_signals(forward):
            code = child.wait()
        if outcome.exists():
            content = json.loads(outcome.read_text("utf-8"))
            raise getattr(errors, content["kind"])(content["message"])
    if received:
        raise InterruptedRunError("stopped before training had begun; run the stage again")
    if code:
        raise ResourceError(f"a training process failed (torchrun's exit code {code}); its message is above")


@contextmanager
def process_group() -> Iterator[Processes]:
    """Join torchrun's processes, if it started this one, and leave at the end; raise ResourceError without GPUs."""
    alone = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
    given = os.environ if dist.is_torchelastic_launched() else alone
    rank, world_size, local_rank, local_world_size = (int(given[name]) for name in alone)
    device = torch.device("cpu")
    if available := torch.cuda.device_count():
        if local_world_size > available:
            raise ResourceError(
                f"{local_world_size} processes were launched on this machine, which has {count(available, 'GPU')}"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    if world_size > 1:
        # Gloo sends objects and numbers on the CPU, NCCL gradients on GPUs.
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(rank, world_size, local_world_size, device)
    finally:
        if world_size > 1:
            dist.destroy_process_group()


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Catch SIGTERM and SIGINT; yield a function that returns True after one, or if the parent was killed."""
    received: list[int] = []
    launcher = int(os.environ.get(LAUNCHER, 0))
    with _handling_signals(lambda number, frame: received.append(number)):
        yield lambda: bool(received) or bool(launcher and not _is_alive(launcher))


@contextmanager
def _handling_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _is_alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
