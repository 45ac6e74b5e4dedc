"""Measuring a network: its size, and what a training step and the inference of a case take of a machine."""

import platform
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from crossmodalnet.networks.common.counts import count_flops, count_parameters
from pipeline.config.params import load_section
from pipeline.config.sections import CropConfig, EvaluateConfig, ProfileConfig
from pipeline.evaluation.memory import measure_memory
from pipeline.evaluation.profile import Profile
from pipeline.evaluation.spread import spread
from pipeline.evaluation.times import Rounds, time_in_turn
from pipeline.evaluation.workload import Workload
from pipeline.runtime.errors import ResourceError
from pipeline.training.determinism import reproducible
from pipeline.training.devices import find_device
from pipeline.training.model_params import read_params


def read_workload(model: str, ablation: str | None, params: ProfileConfig) -> tuple[str, Workload]:
    """Give the name of a model, or of an ablation of it, and what it has to do with the present parameters.

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


def profile_network(work: Workload, rounds: Rounds) -> Profile:
    """Measure a network beside the reference network.

    Args:
        work: the network and what it does.
        rounds: number of steps, and of cases, of each of the two networks.

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


def _profile(work: Workload, rounds: Rounds) -> Profile:
    with reproducible(work.processes, work.num_threads):
        memory = measure_memory(work)  # first: holes that other work leaves in the heap would blur it
        parameters, flops = _count(work)
        steps, cases = _time(work, rounds)
        threads = torch.get_num_threads()
    return Profile(
        parameters=parameters,
        flops=flops,
        step_seconds=spread(steps[0]),
        step_ratio=spread(steps[0] / steps[1]),
        step_memory_mb=memory.step_mb,
        inference_seconds=spread(cases[0]),
        inference_ratio=spread(cases[0] / cases[1]),
        inference_memory_mb=memory.inference_mb,
        reference_seconds=spread(steps[1]).median,
        reference_inference_seconds=spread(cases[1]).median,
        repetitions=steps.shape[1],
        device=describe(work.device),
        threads=threads,
        batch_size=work.train.batch_size,
        patch_size=work.train.patch_size,
        case_size=work.case_size,
    )


def _count(work: Workload) -> tuple[int, int]:
    network = work.build()
    return count_parameters(network), count_flops(network, work.patch())


def _time(work: Workload, rounds: Rounds) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds of steps and of cases, of the network and of the reference, `(2, n)` each."""
    networks = work.build(), work.build_reference()
    steps = time_in_turn([work.step(network) for network in networks], rounds, work.device)
    cases = time_in_turn([work.inference(network) for network in networks], rounds, work.device)
    return steps, cases


def describe(device: torch.device) -> str:
    """Name a GPU or this machine's processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
