"""Profile of a network: parameters, operations, time and memory."""

import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from crossmodalnet.errors import DataError, ResourceError
from crossmodalnet.io.outputs import write_json
from crossmodalnet.networks.common.device import find_device
from crossmodalnet.networks.common.parameters import count_flops, count_parameters
from pipeline.config.params import load_section
from pipeline.config.sections import CropConfig, EvaluateConfig, ProfileConfig
from pipeline.config.variants import is_ablation
from pipeline.evaluation.workload import Workload, measure_memory, time_in_turn
from pipeline.runtime.inputs import read_object
from pipeline.runtime.paths import PROFILE
from pipeline.training.params import read_params
from pipeline.training.processes import reproducible


@dataclass(frozen=True)
class Spread:
    """Median and quartiles (`low`: 25 %, `high`: 75 %) of repeated measurements."""

    median: float
    low: float
    high: float


def spread(values: NDArray[np.float64]) -> Spread:
    """Summarise repeated measurements `(n,)`; quartiles between two values are interpolated."""
    low, median, high = (round(float(value), 6) for value in np.percentile(values, [25, 50, 75]))
    return Spread(median, low, high)


@dataclass(frozen=True)
class Profile:
    """Costs of a network.

    Attributes:
        parameters: trained weights.
        flops: operations of one forward pass of one patch; see `count_flops`.
        step_seconds: a training step of the whole batch in one process with all threads.
        step_ratio: `step_seconds` over the reference network's, of pairs of steps timed one after the other.
        step_memory_mb: peak of a training step, MiB; see `profile_memory`.
        inference_seconds: one case on the working grid, all windows and their blending; not its return to the
            original CT grid, which is the same for all networks.
        inference_ratio: inference time over the reference network's, as `step_ratio`.
        inference_memory_mb: peak of inference, MiB.
        reference_seconds: median step of the reference network, MONAI's U-Net of `REFERENCE_CHANNELS`.
        reference_inference_seconds: median inference of the reference network.
        repetitions: timed steps.
        device: GPU or processor.
        threads: threads of the CPU.
        batch_size: samples of a step.
        patch_size: voxels.
        case_size: voxels.
    """

    parameters: int
    flops: int
    step_seconds: Spread
    step_ratio: Spread
    step_memory_mb: float
    inference_seconds: Spread
    inference_ratio: Spread
    inference_memory_mb: float
    reference_seconds: float
    reference_inference_seconds: float
    repetitions: int
    device: str
    threads: int
    batch_size: int
    patch_size: tuple[int, int, int]
    case_size: tuple[int, int, int]


def write_profile(path: Path, profile: Profile) -> None:
    """Write a profile as JSON."""
    write_json(path, asdict(profile))


def read_profile(name: str, top: Path) -> Profile:
    """Read the costs of a model or of an ablation's runs.

    Args:
        name: name of the model, as its file is called.
        top: folder that `pipeline.runtime.paths` are relative to.

    Raises:
        DataError: its profile is missing or malformed.
    """
    path = top / PROFILE / f"{name}.json"
    stage = "profile-ablation" if is_ablation(name) else "profile"
    content = read_object(path, stage)
    try:
        return TypeAdapter(Profile).validate_python(content)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        key = ".".join(map(str, found["loc"]))
        raise DataError(f"{path}: {key}: {found['msg']}: run `dvc repro --force {stage}`") from error


def read_workload(model: str, ablation: str | None, params: ProfileConfig) -> tuple[str, Workload]:
    """Read the name and the workload of a model, or of an ablation of it, from the present parameters.

    Raises:
        UsageError: no such model or ablation, or a bad value.
        ResourceError: no such device.
    """
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
    """Measure a network beside the reference network.

    Args:
        work: the network and what it does.
        rounds: repetitions of steps, and of cases, of each of the two networks.

    Raises:
        UsageError: the network cannot be built.
        ResourceError: it needs more memory than there is.
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
        step_mb, inference_mb = measure_memory(
            work
        )  # first: holes that other work leaves in the heap would blur it
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
    """Name a GPU or this machine's processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
