"""Measure parameters, operations, time and memory of a network on random data."""

import ctypes
import gc
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from monai.networks.nets import UNet
from numpy.typing import NDArray
from torch import Tensor, nn

from crossmodalnet.errors import ResourceError, UsageError
from crossmodalnet.imaging.samples import Batch
from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.networks.common.build import build_network
from crossmodalnet.networks.common.device import find_device
from crossmodalnet.networks.common.parameters import count_flops, count_parameters
from crossmodalnet.networks.common.sliding_window import predict_probabilities
from crossmodalnet.networks.common.wrappers import PaddedNetwork
from pipeline.config.params import load_section
from pipeline.config.sections import CropConfig, EvaluateConfig, LossesConfig, ProfileConfig, TrainConfig
from pipeline.evaluation.profile import Profile, spread
from pipeline.training.determinism import reproducible
from pipeline.training.learner import Learner
from pipeline.training.objectives import make_objective
from pipeline.training.params import read_params
from pipeline.training.processes import Processes

Action = Callable[[], object]

MIN_REPETITIONS = 3  # fewer make no quartiles
MB = 2**20
INTERVAL_SECONDS = 0.001
# From glibc's malloc.h: above the first, blocks are unmapped when freed; the second limits the heap's free end.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
REFERENCE_CHANNELS = (16, 32, 64, 128)


def time_in_turn(actions: Sequence[Action], rounds: ProfileConfig, device: torch.device) -> NDArray[np.float64]:
    """Time each action once per repetition, in turn, with the GPU synchronised.

    Returns:
        Seconds, `(len(actions), timed rounds)`.
    """
    start = time.perf_counter()
    for _ in range(rounds.warmup):
        for action in actions:
            action()
    timed: list[list[float]] = []
    while len(timed) < max(rounds.repetitions, MIN_REPETITIONS):
        if len(timed) >= MIN_REPETITIONS and time.perf_counter() - start > rounds.max_seconds:
            break
        timed.append([_seconds(action, device) for action in actions])
    return np.array(timed, dtype=np.float64).T


def _seconds(action: Action, device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    action()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Workload:
    """A network, a training step and the inference of one case; picklable.

    Attributes:
        model: key of the network's builder.
        case_size: voxels.
        num_threads: CPU threads; 0 is one per core.
    """

    model: str
    options: Mapping[str, Any]
    train: TrainConfig
    losses: LossesConfig
    case_size: tuple[int, int, int]
    overlap: float
    device: torch.device
    num_threads: int
    seed: int

    @property
    def processes(self) -> Processes:
        """This process, which computes the whole batch."""
        return Processes(0, 1, 1, self.device)

    def build(self) -> nn.Module:
        """Build the network on its device.

        Raises:
            UsageError: unknown network, or unsuitable options or patch size.
        """
        torch.manual_seed(self.seed)
        size = self.train.patch_size
        try:
            network = build_network(self.model, self.options, patch_size=size, num_classes=NUM_CLASSES)
        except ValueError as error:
            raise UsageError(f"network.{self.model} with train.patch_size {size}: {error}") from error
        return network.to(self.device)

    def build_reference(self) -> nn.Module:
        """Build the reference network: a small plain U-Net of MONAI."""
        torch.manual_seed(self.seed)
        network = UNet(3, 2, NUM_CLASSES, REFERENCE_CHANNELS, strides=(2, 2, 2))
        # Skips need sizes divisible by 8, normalisation more than one voxel.
        return PaddedNetwork(network, (8, 8, 8), minimum=(16, 16, 16)).to(self.device)

    def step(self, network: nn.Module) -> Action:
        """Make a training step as an action, with all that the network trains; the rate is 0, which costs the same."""
        objective = partial(make_objective, weight=self.losses.cmif)
        learner = Learner(network, self.losses, self.train, self.processes, objective)
        batch = self._batch()
        return lambda: learner.step(batch, 0.0, 0, "the profile")

    def inference(self, network: nn.Module) -> Action:
        """Make the inference of one case as an action: all windows and their blending."""
        image = _random_image(1, self.case_size, self.seed)[0]
        return lambda: predict_probabilities(network, image, patch_size=self.train.patch_size, overlap=self.overlap)

    def patch(self) -> Tensor:
        """Return one random patch, `(1, 2, d, h, w)`, on the device."""
        return _random_image(1, self.train.patch_size, self.seed).to(self.device)

    def _batch(self) -> Batch:
        b, size = self.train.batch_size, self.train.patch_size
        label = torch.randint(0, NUM_CLASSES, (b, *size), generator=torch.Generator().manual_seed(self.seed))
        return Batch(("random",) * b, _random_image(b, size, self.seed), label)


def _random_image(b: int, size: tuple[int, int, int], seed: int) -> Tensor:
    return torch.rand(b, 2, *size, generator=torch.Generator().manual_seed(seed))


def memory_in_use(device: torch.device) -> int:
    """Return the bytes in use on a GPU, or by this process."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def peak_memory(device: torch.device, action: Action) -> int:
    """Run an action and return the peak of the bytes in use meanwhile."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        action()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    seen, done = [memory_in_use(device)], threading.Event()

    def sample() -> None:
        while not done.wait(INTERVAL_SECONDS):
            seen[0] = max(seen[0], memory_in_use(device))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        action()
    finally:
        done.set()
        thread.join()
    return max(seen[0], memory_in_use(device))


def measure_memory(work: Workload) -> tuple[float, float]:
    """Measure the peak memory of a training step and of inference, MiB, without the libraries.

    On a GPU it is the peak of PyTorch's allocator; on the CPU the growth of resident memory, sampled every millisecond.
    A fresh process measures best: its heap has no holes that new tensors would fill.
    """
    with _returning_freed():
        work.step(work.build_reference())()  # loads the libraries, starts the threads
        work.build()  # imports its own modules: timm alone takes 15 MiB
        gc.collect()
        before = memory_in_use(work.device)
        network = work.build()
        inference = peak_memory(work.device, work.inference(network))
        step = work.step(network)
        # The first step makes Adam's moments, the second has them from its start.
        training = peak_memory(work.device, lambda: (step(), step()))
    return round((training - before) / MB, 1), round((inference - before) / MB, 1)


@contextmanager
def _returning_freed() -> Iterator[None]:
    """Make glibc return freed blocks above 64 KiB to the system; no effect with other C libraries."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    libc.malloc_trim(0)
    libc.mallopt(M_MMAP_THRESHOLD, 64 * 2**10)
    try:
        yield
    finally:
        # The values that glibc's own adaptation reaches in training.
        libc.mallopt(M_MMAP_THRESHOLD, 32 * MB)
        libc.mallopt(M_TRIM_THRESHOLD, 64 * MB)


def read_workload(model: str, ablation: str | None, params: ProfileConfig) -> tuple[str, Workload]:
    """Read the name and the workload of a model or an ablation from params.yaml."""
    trained = read_params(model, ablation)
    work = Workload(
        model=trained.builder,
        options=trained.options,
        train=trained.train,
        losses=trained.losses,
        case_size=load_section(CropConfig, "crop").size,
        overlap=load_section(EvaluateConfig, "evaluate").overlap,
        device=find_device(params.device, "profile.device"),
        num_threads=params.num_threads,
        seed=params.seed,
    )
    return trained.name, work


def profile_network(work: Workload, rounds: ProfileConfig) -> Profile:
    """Measure a network and the reference network.

    Raises:
        ResourceError: out of GPU memory.
    """
    try:
        return _profile(work, rounds)
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"{work.model}: a batch of {work.train.batch_size} patches of {work.train.patch_size} does not fit "
            f"into the memory of {describe(work.device)}"
        ) from error


def _profile(work: Workload, rounds: ProfileConfig) -> Profile:
    with reproducible(work.processes, work.num_threads):
        # First: holes that other work leaves in the heap would blur it.
        step_mb, inference_mb = measure_memory(work)
        network, reference = work.build(), work.build_reference()
        parameters, flops = count_parameters(network), count_flops(network, work.patch())
        steps = time_in_turn([work.step(n) for n in (network, reference)], rounds, work.device)
        cases = time_in_turn([work.inference(n) for n in (network, reference)], rounds, work.device)
        threads = torch.get_num_threads()
    return Profile(
        parameters=parameters,
        flops=flops,
        step_seconds=spread(steps[0]),
        step_ratio=spread(steps[0] / steps[1]),
        step_memory_mb=step_mb,
        inference_seconds=spread(cases[0]),
        inference_ratio=spread(cases[0] / cases[1]),
        inference_memory_mb=inference_mb,
        reference_seconds=spread(steps[1]).median,
        reference_inference_seconds=spread(cases[1]).median,
        repetitions=steps.shape[1],
        device=describe(work.device),
        threads=threads,
        batch_size=work.train.batch_size,
        patch_size=work.train.patch_size,
        case_size=work.case_size,
    )


def describe(device: torch.device) -> str:
    """Return the name of a GPU or of this machine's processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
