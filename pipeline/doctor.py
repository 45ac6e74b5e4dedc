"""What this machine has, against what the parameters need."""

import os
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from pipeline.config.consistency import contradictions, wasteful_windows, without_effect
from pipeline.config.params import Params, read_raw, validate
from pipeline.doctor_clone import examine_clone
from pipeline.doctor_data import examine_data
from pipeline.doctor_finding import DoctorFinding
from pipeline.runtime.errors import UsageError
from pipeline.runtime.paths import PARAMS

# Release series the project is tested with; constraints.txt has the exact versions.
TESTED = {
    "antspyx": "0.6", "dvc": "3.", "einops": "0.8", "monai": "1.6", "nibabel": "5.", "pandas": "3.", "simpleitk": "2.5",
    "timm": "1.0", "torch": "2.15", "typer": "0.",
}  # fmt: skip
MIN_FREE_DISK_GB = 5
GB = 1024**3


def examine(top: Path | None = None) -> list[DoctorFinding]:
    """Look at everything; nothing is changed and nothing is raised."""
    top = top or Path.cwd()
    return [*examine_clone(top), *_packages(), *_machine(top), *_parameters(top)]


def _packages() -> Iterator[DoctorFinding]:
    for name, series in TESTED.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield DoctorFinding("package", False, f"{name} is not installed", "make install")
            continue
        tested = version.startswith(series)
        remedy = "" if tested else f"tested with {series}*; `make install` gives that version"
        yield DoctorFinding("package", True, f"{name} {version}", remedy)


def _machine(top: Path) -> Iterator[DoctorFinding]:
    import psutil
    import torch

    free_gb = shutil.disk_usage(top).free / GB
    enough = free_gb >= MIN_FREE_DISK_GB
    yield DoctorFinding(
        "disk",
        enough,
        f"{free_gb:.0f} GB free",
        "" if enough else f"free {MIN_FREE_DISK_GB} GB or move the clone",
    )
    available_gb = psutil.virtual_memory().available / GB
    roomy = available_gb >= 4
    yield DoctorFinding(
        "memory",
        roomy,
        f"{available_gb:.0f} GB available, {len(os.sched_getaffinity(0))} cores",
        ""
        if roomy
        else "the default pipeline was measured at 3.2 GB: close other programs, or set runtime.workers to 1",
    )
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    for gpu in gpus:
        yield DoctorFinding("gpu", True, f"{gpu.name}, {gpu.total_memory / GB:.0f} GB")
    if not gpus:
        yield DoctorFinding("gpu", True, "none: training runs on the CPU")


def _parameters(top: Path) -> Iterator[DoctorFinding]:
    try:
        params = validate(Params, read_raw(top / PARAMS), "")
    except UsageError as error:
        yield DoctorFinding(
            "params", False, str(error), "correct params.yaml, or `crossmodalnet params use default`"
        )
        return
    for text in (found := contradictions(params)):
        # What section `train` says of processes is told below, with what this machine has.
        if not text.startswith("train.batch_size"):
            yield DoctorFinding("params", False, text, "correct params.yaml")
    if not found:
        yield DoctorFinding("params", True, f"{PARAMS} is valid")
    for text in without_effect(params):
        yield DoctorFinding("params", True, text, "look whether that is meant")
    yield from examine_data(top, params)
    yield from _fit(params)


def _fit(params: Params) -> Iterator[DoctorFinding]:
    import torch

    devices, batch = params.train.devices, params.train.batch_size
    num_gpus = torch.cuda.device_count()
    processes = (num_gpus or 1) if devices == "auto" else int(devices)
    divides = batch % processes == 0
    yield DoctorFinding(
        "fit",
        divides,
        f"global batch of {batch} over {processes} process(es)",
        "" if divides else "train.batch_size must be a multiple of train.devices",
    )
    if 0 < num_gpus < processes:
        remedy = "set train.devices=auto, or launch over several nodes with torchrun or srun"
        yield DoctorFinding("fit", False, f"train.devices = {devices}, but {num_gpus} GPU(s) here", remedy)
    per_gpu = batch // processes
    if num_gpus == 0 and max(params.train.patch_size) > 64:
        remedy = "a GPU, or `crossmodalnet params use default`"
        yield DoctorFinding(
            "fit", False, f"patches of {params.train.patch_size} x {per_gpu} on the CPU take days", remedy
        )

    for text, remedy in wasteful_windows(params):
        yield DoctorFinding("fit", True, text, remedy)
