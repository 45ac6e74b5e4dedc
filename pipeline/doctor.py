"""Check whether this machine, clone and data can run the parameters, without changes or exceptions."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.io.console import count
from pipeline.cohort.guard import existing_path, local_archive, path_problems
from pipeline.cohort.mmwhs import REGISTRATION, parse
from pipeline.cohort.nnunet import is_nnunet
from pipeline.cohort.table import read_table_file
from pipeline.config.consistency import contradictions, wasteful_windows, without_effect
from pipeline.config.params import Params, read_raw, validate
from pipeline.config.sections import Archive
from pipeline.runtime.paths import MANIFEST, PARAMS

# Tested release series; constraints.txt has the exact versions.
TESTED = {
    "antspyx": "0.6", "dvc": "3.", "einops": "0.8", "monai": "1.6", "nibabel": "5.", "pandas": "3.", "simpleitk": "2.5",
    "timm": "1.0", "torch": "2.15", "typer": "0.",
}  # fmt: skip
MIN_FREE_DISK_GB = 5
MIN_FREE_MEMORY_GB = 4
MAX_ENTRIES = 20_000
SECONDS = 120
GB = 1024**3


class Line(NamedTuple):
    """One line of the report; `remedy` is empty where nothing needs doing."""

    subject: str
    is_ok: bool
    text: str
    remedy: str = ""


def examine(top: Path | None = None) -> list[Line]:
    """Check the clone at `top`, packages, machine, parameters and data."""
    top = top or Path.cwd()
    return [*examine_clone(top), *_packages(), *_machine(top), *_parameters(top)]


def examine_clone(top: Path) -> Iterator[Line]:
    """Check git, the output folders and DVC."""
    yield from _git(top)
    yield from _folders(top)
    yield _dvc(top)


def run(command: list[str], cwd: Path | None = None) -> tuple[bool, str]:
    """Run a command; return its success and output."""
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL,
            text=True, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return done.returncode == 0, done.stdout + done.stderr


def _git(top: Path) -> Iterator[Line]:
    git = shutil.which("git")
    if not git:
        yield Line("git", False, "not found", "install git, for instance `apt install git`")
        return
    yield Line("git", True, git)
    inside, output = run(["git", "-C", str(top), "rev-parse", "--git-dir"])
    if not inside:
        remedy = "run from the top of a git clone; `dvc exp` needs git"
        if "dubious ownership" in output:
            remedy = f"the clone belongs to another user: git config --global --add safe.directory {top}"
        yield Line("repository", False, str(top), remedy)
        return
    yield Line("repository", True, str(top))
    committed, _ = run(["git", "-C", str(top), "rev-parse", "HEAD"])
    if not committed:
        remedy = "commit once: `dvc exp run` starts from a commit"
        yield Line("repository", False, "no commit yet", remedy)
    shallow, output = run(["git", "-C", str(top), "rev-parse", "--is-shallow-repository"])
    if shallow and output.strip() == "true":
        text = "a shallow clone: `dvc exp run --temp` and `--queue` run, and cannot record their results"
        yield Line("repository", True, text, "git fetch --unshallow")
    _, unmerged = run(["git", "-C", str(top), "ls-files", "--unmerged"])
    if unmerged.strip():
        names = sorted({line.split("\t")[-1] for line in unmerged.splitlines()})
        text = f"a merge is not finished: {', '.join(names[:5])}"
        remedy = "solve the conflicts and commit; dvc.lock is remade by `dvc repro`"
        yield Line("repository", False, text, remedy)


def _folders(top: Path) -> Iterator[Line]:
    for folder in [top, *(top / name for name in (".dvc", ".dvc/tmp", ".work", "data"))]:
        if folder.exists() and (why := _unwritable(folder)):
            remedy = "change its permissions, or move the clone"
            yield Line("folder", False, f"{folder} cannot be written ({why})", remedy)
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        remedy = "set TMPDIR to a folder that can be written"
        yield Line("folder", False, f"no temporary folder ({error.strerror})", remedy)
        return
    wanted = os.environ.get("TMPDIR")
    if wanted and Path(wanted).resolve() != temporary.resolve():
        text = f"TMPDIR = {wanted} cannot be used: {temporary} is"
        yield Line("folder", True, text, "make that folder, or unset TMPDIR")


def _unwritable(folder: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _dvc(top: Path) -> Line:
    # This environment may not be on the PATH.
    beside = Path(sys.executable).with_name("dvc")
    dvc = str(beside) if beside.exists() else shutil.which("dvc")
    if not dvc:
        return Line("dvc", False, "not found", "pip install -c constraints.txt dvc")
    if not (top / "dvc.yaml").exists():
        return Line("dvc", False, f"{top} has no dvc.yaml", "run from the top of the clone")
    if _is_locked(top / ".dvc/tmp/lock"):
        text = "another dvc command is at work in this clone"
        return Line("dvc", False, text, "wait until it has ended, or work in another clone")
    for file in (top / name for name in ("dvc.lock", "dvc.yaml", "params.yaml")):
        if file.is_file() and "\n<<<<<<< " in f"\n{file.read_text('utf-8', 'replace')}":
            remedy = "solve the conflict and commit; for dvc.lock: `git checkout --ours dvc.lock`, then `dvc repro`"
            return Line("dvc", False, f"{file.name} holds the marks of a merge conflict", remedy)
    # Like every command, it reads dvc.yaml, params.yaml and dvc.lock, and needs a user.
    works, output = run([dvc, "stage", "list", "--name-only"], top)
    if works:
        return Line("dvc", True, dvc)
    errors = [line.strip() for line in output.splitlines() if "ERROR" in line]
    errors = errors or output.strip().splitlines()[-1:]
    remedy = "`dvc stage list` says the same; correct what it names"
    if "getpwuid" in output or "uid not found" in output:
        remedy = "nobody knows this user: set USER, or run the container with a user that has an entry in /etc/passwd"
    return Line("dvc", False, f"dvc cannot work here: {' '.join(errors)[:300]}", remedy)


def _is_locked(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _packages() -> Iterator[Line]:
    for name, series in TESTED.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Line("package", False, f"{name} is not installed", "make install")
            continue
        remedy = f"tested with {series}*; `make install` gives that version"
        yield Line("package", True, f"{name} {version}", "" if version.startswith(series) else remedy)


def _machine(top: Path) -> Iterator[Line]:
    import psutil
    import torch

    free_gb = shutil.disk_usage(top).free / GB
    enough = free_gb >= MIN_FREE_DISK_GB
    remedy = f"free {MIN_FREE_DISK_GB} GB or move the clone"
    yield Line("disk", enough, f"{free_gb:.0f} GB free", "" if enough else remedy)
    available_gb = psutil.virtual_memory().available / GB
    enough = available_gb >= MIN_FREE_MEMORY_GB
    text = f"{available_gb:.0f} GB available, {len(os.sched_getaffinity(0))} cores"
    remedy = "the default pipeline was measured at 3.2 GB: close other programs, or set runtime.workers to 1"
    yield Line("memory", enough, text, "" if enough else remedy)
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    for gpu in gpus:
        yield Line("gpu", True, f"{gpu.name}, {gpu.total_memory / GB:.0f} GB")
    if not gpus:
        yield Line("gpu", True, "none: training runs on the CPU")


def _parameters(top: Path) -> Iterator[Line]:
    try:
        params = validate(Params, read_raw(top / PARAMS), "")
    except UsageError as error:
        yield Line("params", False, str(error), "correct params.yaml, or `crossmodalnet params use default`")
        return
    errors = contradictions(params)
    for text in errors:
        # `_fit` checks the processes of section `train` against this machine.
        if not text.startswith("train.batch_size"):
            yield Line("params", False, text, "correct params.yaml")
    if not errors:
        yield Line("params", True, f"{PARAMS} is valid")
    for text in without_effect(params):
        yield Line("params", True, text, "check whether that is intended")
    yield from examine_data(top, params)
    yield from _fit(params)


def _fit(params: Params) -> Iterator[Line]:
    import torch

    devices, batch = params.train.devices, params.train.batch_size
    num_gpus = torch.cuda.device_count()
    processes = (num_gpus or 1) if devices == "auto" else int(devices)
    divides = batch % processes == 0
    remedy = "" if divides else "train.batch_size must be a multiple of train.devices"
    yield Line("fit", divides, f"global batch of {batch} on {count(processes, 'device')}", remedy)
    if 0 < num_gpus < processes:
        remedy = "set train.devices=auto, or launch over several nodes with torchrun"
        yield Line("fit", False, f"train.devices = {devices}, but {count(num_gpus, 'GPU')} here", remedy)
    if num_gpus == 0 and max(params.train.patch_size) > 64:
        text = f"patches of {params.train.patch_size} x {batch // processes} on the CPU take days"
        yield Line("fit", False, text, "a GPU, or `crossmodalnet params use default`")
    for text, remedy in wasteful_windows(params):
        yield Line("fit", True, text, remedy)


def examine_data(top: Path, params: Params) -> Iterator[Line]:
    """Check the paths of sections `data` and `adapt.target`; images are not opened."""
    target = params.adapt.target if params.adapt.enabled else None
    for problem in path_problems(params.data, target):
        yield Line("data", False, problem, "move the files before any dvc command: DVC would delete them")
    data = params.data
    if data.source == "phantom":
        yield Line("data", True, "phantom: made here by the download stage")
    elif not data.path and data.source == "table":
        remedy = "set data.path to a table or an nnU-Net folder, see docs/own_data.md"
        yield Line("data", False, "data.source is table, but data.path is not set", remedy)
    elif not data.path and not data.urls:
        remedy = f"register at {REGISTRATION} and set data.path"
        yield Line("data", False, "data.source is mmwhs, but neither data.path nor data.urls is set", remedy)
    else:
        lines = list(_sources("data", data.source, data.path, data.urls))
        yield from lines
        if not lines:
            state = "downloaded" if (top / MANIFEST).exists() else "not downloaded yet: `dvc repro download`"
            yield Line("data", True, f"{data.source}, {state}")
    if target is not None and target.source == "mmwhs":
        yield from _sources("adapt.target", target.source, target.path, target.urls)


def _sources(section: str, source: str, path: str | list[str] | None, urls: Sequence[Archive]) -> Iterator[Line]:
    """Report missing or unusable paths and archives."""
    key = f"{section}.path"
    for text in [path] if isinstance(path, str) else path or []:
        try:
            existing = existing_path(text, key)
        except UsageError:
            continue  # `path_problems` reports it
        except DataError as error:
            missing = f"{key} not found: {text}" if "does not exist" in str(error) else str(error)
            yield Line("data", False, missing, f"set {key} to where your data are")
            continue
        if problem := _table_problem(existing) if source == "table" else _folder_problem(existing):
            remedy = f"`crossmodalnet data check {text}` says more"
            yield Line("data", False, f"{key} = {text}: {problem}", remedy)
    for archive in urls:
        if (local := local_archive(archive.url)) and not local.exists():
            yield Line("data", False, f"{section}.urls: {archive.url} does not exist", "correct the address")


def _table_problem(path: Path) -> str | None:
    if path.is_dir():
        return None if is_nnunet(path) else "a folder without dataset.json and imagesTr"
    errors = [finding for finding in read_table_file(path).findings if finding.severity == "error"]
    return f"{count(len(errors), 'error')}, the first: {errors[0].case}: {errors[0].what}" if errors else None


def _folder_problem(path: Path) -> str | None:
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        return "cannot be read by this user"
    if not path.is_dir():
        return None if path.suffix.lower() == ".zip" else "neither a folder nor a zip archive"
    names = (name for _, _, names in os.walk(path, followlinks=True) for name in names)
    seen = list(islice(names, MAX_ENTRIES))
    if len(seen) < MAX_ENTRIES and not any(parse(name) or name.lower().endswith(".zip") for name in seen):
        return "holds no file called like ct_train_1001_image.nii.gz, and no zip archive"
    return None
