"""What this machine has, against what the parameters need."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pipeline.common.errors import UsageError
from pipeline.common.params import read_raw, validate
from pipeline.common.paths import MANIFEST, PARAMS
from pipeline.schema.schema import Params
from pipeline.schema.wasteful_windows import wasteful_windows

# Release series the project is tested with; constraints.txt has the exact versions.
TESTED = {
    "antspyx": "0.6", "dvc": "3.", "einops": "0.8", "monai": "1.6", "nibabel": "5.", "pandas": "3.", "simpleitk": "2.5",
    "timm": "1.0", "torch": "2.15", "typer": "0.",
}  # fmt: skip
MIN_FREE_DISK_GB = 5
GB = 1024**3


@dataclass(frozen=True)
class DoctorFinding:
    """One line of the doctor; `remedy` says what to do, or is empty."""

    subject: str
    ok: bool
    text: str
    remedy: str = ""


def examine(top: Path | None = None) -> list[DoctorFinding]:
    """Look at everything; nothing is changed and nothing is raised."""
    top = top or Path.cwd()
    return [*_programs(top), *_packages(), *_machine(top), *_parameters(top)]


def _programs(top: Path) -> Iterator[DoctorFinding]:
    git = shutil.which("git")
    yield DoctorFinding(
        "git", bool(git), git or "not found", "" if git else "install git, for instance `apt install git`"
    )
    inside = bool(git) and _succeeds(["git", "-C", str(top), "rev-parse", "--git-dir"])
    yield DoctorFinding(
        "repository",
        inside,
        str(top),
        "" if inside else "run from the top of a git clone; `dvc exp` needs git",
    )
    # The dvc of this very environment, whether or not it is on the PATH.
    dvc = Path(sys.executable).with_name("dvc")
    found = str(dvc) if dvc.exists() else shutil.which("dvc")
    yield DoctorFinding(
        "dvc", bool(found), found or "not found", "" if found else "pip install -c constraints.txt dvc"
    )


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
    yield DoctorFinding("params", True, f"{PARAMS} is valid")
    yield from _data(top, params)
    yield from _fit(params)


def _data(top: Path, params: Params) -> Iterator[DoctorFinding]:
    data = params.data
    if data.source == "phantom":
        yield DoctorFinding("data", True, "phantom: made here by the download stage")
        return
    paths = [data.path] if isinstance(data.path, str) else data.path or []
    missing = [path for path in paths if not (top / path).exists()]
    if missing:
        yield DoctorFinding(
            "data",
            False,
            f"data.path not found: {', '.join(missing)}",
            "set data.path to where your data are",
        )
    elif not paths and data.source == "table":
        remedy = "set data.path to a table or an nnU-Net folder, see docs/own_data.md"
        yield DoctorFinding("data", False, "data.source is table, but data.path is not set", remedy)
    elif not paths and not data.urls:
        remedy = "register at https://zmiclab.github.io/zxh/0/mmwhs/ and set data.path"
        yield DoctorFinding(
            "data", False, "data.source is mmwhs, but neither data.path nor data.urls is set", remedy
        )
    else:
        state = "downloaded" if (top / MANIFEST).exists() else "not downloaded yet: `dvc repro download`"
        yield DoctorFinding("data", True, f"{data.source}, {state}")


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

    for text in wasteful_windows(params):
        yield DoctorFinding("fit", True, text, "null chooses a window that divides the map")


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
