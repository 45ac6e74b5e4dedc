"""Check whether this machine, clone and data can run the parameters."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path

from crossmodalnet.errors import DataError, UsageError
from pipeline.cohort.guard import existing_path, local_archive, path_problems
from pipeline.cohort.mmwhs import parse
from pipeline.cohort.nnunet import is_nnunet
from pipeline.cohort.table import read_table_file
from pipeline.config.consistency import contradictions, wasteful_windows, without_effect
from pipeline.config.params import Params, read_raw, validate
from pipeline.config.sections import Archive
from pipeline.runtime.paths import MANIFEST, PARAMS


@dataclass(frozen=True)
class DoctorFinding:
    """One line of the doctor; `remedy` says what to do, or is empty."""

    subject: str
    ok: bool
    text: str
    remedy: str = ""


SECONDS = 120


def examine_clone(top: Path) -> Iterator[DoctorFinding]:
    """Look at git, DVC, the user and the places that are written."""
    yield from _git(top)
    yield from _writable_folders(top)
    yield from _dvc(top)


def _git(top: Path) -> Iterator[DoctorFinding]:
    git = shutil.which("git")
    yield DoctorFinding(
        "git", bool(git), git or "not found", "" if git else "install git, for instance `apt install git`"
    )
    if not git:
        return
    inside, said = run(["git", "-C", str(top), "rev-parse", "--git-dir"])
    remedy = "run from the top of a git clone; `dvc exp` needs git"
    if "dubious ownership" in said:
        remedy = f"the clone belongs to another user: git config --global --add safe.directory {top}"
    yield DoctorFinding("repository", inside, str(top), "" if inside else remedy)
    if not inside:
        return
    committed, _ = run(["git", "-C", str(top), "rev-parse", "HEAD"])
    if not committed:
        yield DoctorFinding(
            "repository", False, "no commit yet", "commit once: `dvc exp run` starts from a commit"
        )
    shallow, said = run(["git", "-C", str(top), "rev-parse", "--is-shallow-repository"])
    if shallow and said.strip() == "true":
        text = "a shallow clone: `dvc exp run --temp` and `--queue` run, and cannot record their results"
        yield DoctorFinding("repository", True, text, "git fetch --unshallow")
    _, status = run(["git", "-C", str(top), "ls-files", "--unmerged"])
    if status.strip():
        names = sorted({line.split("\t")[-1] for line in status.splitlines()})
        text = f"a merge is not finished: {', '.join(names[:5])}"
        yield DoctorFinding(
            "repository", False, text, "solve the conflicts and commit; dvc.lock is remade by `dvc repro`"
        )


def _writable_folders(top: Path) -> Iterator[DoctorFinding]:
    places = [top, *(top / name for name in (".dvc", ".dvc/tmp", ".work", "data") if (top / name).exists())]
    for place in places:
        if why := _unwritable(place):
            yield DoctorFinding(
                "folder",
                False,
                f"{place} cannot be written ({why})",
                "change its permissions, or move the clone",
            )
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        yield DoctorFinding(
            "folder",
            False,
            f"no temporary folder ({error.strerror})",
            "set TMPDIR to a folder that can be written",
        )
        return
    wanted = os.environ.get("TMPDIR")
    if wanted and Path(wanted).resolve() != temporary.resolve():
        text = f"TMPDIR = {wanted} cannot be used: {temporary} is"
        yield DoctorFinding("folder", True, text, "make that folder, or unset TMPDIR")


def _unwritable(place: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _dvc(top: Path) -> Iterator[DoctorFinding]:
    # The dvc of this very environment, whether or not it is on the PATH.
    beside = Path(sys.executable).with_name("dvc")
    dvc = str(beside) if beside.exists() else shutil.which("dvc")
    if not dvc:
        yield DoctorFinding("dvc", False, "not found", "pip install -c constraints.txt dvc")
        return
    if not (top / "dvc.yaml").exists():
        yield DoctorFinding("dvc", False, f"{top} has no dvc.yaml", "run from the top of the clone")
        return
    if _is_held(top / ".dvc/tmp/lock"):
        text = "another dvc command is at work in this clone"
        yield DoctorFinding("dvc", False, text, "wait until it has ended, or work in another clone")
        return
    # Reads dvc.yaml, params.yaml and dvc.lock, and asks for the user, as every command does before a stage runs.
    works, said = run([dvc, "stage", "list", "--name-only"], top)
    if works:
        yield DoctorFinding("dvc", True, dvc)
        return
    lines = [line.strip() for line in said.splitlines() if "ERROR" in line] or said.strip().splitlines()[-1:]
    text = f"dvc cannot work here: {' '.join(lines)[:300]}"
    remedy = "`dvc stage list` says the same; correct what it names"
    if "getpwuid" in said or "uid not found" in said:
        remedy = "nobody knows this user: set USER, or run the container with a user that has an entry in /etc/passwd"
    yield DoctorFinding("dvc", False, text, remedy)


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def run(command: list[str], cwd: Path | None = None) -> tuple[bool, str]:
    """Run a command; gives whether it ended well and all that it printed."""
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL,
            text=True, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return done.returncode == 0, done.stdout + done.stderr


MAX_ENTRIES = 20_000


def examine_data(top: Path, params: Params) -> Iterator[DoctorFinding]:
    """Look at the places that sections `data` and `adapt.target` name; images are not opened."""
    target = params.adapt.target if params.adapt.enabled else None
    for problem in path_problems(params.data, target):
        yield DoctorFinding(
            "data", False, problem, "move the files before any dvc command: DVC would delete them"
        )
    data = params.data
    if data.source == "phantom":
        yield DoctorFinding("data", True, "phantom: made here by the download stage")
    elif not data.path and data.source == "table":
        remedy = "set data.path to a table or an nnU-Net folder, see docs/own_data.md"
        yield DoctorFinding("data", False, "data.source is table, but data.path is not set", remedy)
    elif not data.path and not data.urls:
        remedy = "register at https://zmiclab.github.io/zxh/0/mmwhs/ and set data.path"
        yield DoctorFinding(
            "data", False, "data.source is mmwhs, but neither data.path nor data.urls is set", remedy
        )
    else:
        found = [*_places("data", data.source, data.path), *_archives("data", data.urls)]
        yield from found
        if not found:
            state = "downloaded" if (top / MANIFEST).exists() else "not downloaded yet: `dvc repro download`"
            yield DoctorFinding("data", True, f"{data.source}, {state}")
    if target is not None and target.source == "mmwhs":
        yield from _places("adapt.target", target.source, target.path)
        yield from _archives("adapt.target", target.urls)


def _places(section: str, source: str, path: str | list[str] | None) -> Iterator[DoctorFinding]:
    """Say what would stop the stage that reads the paths; nothing where it would find something there."""
    key = f"{section}.path"
    for text in [path] if isinstance(path, str) else path or []:
        try:
            found = existing_path(text, key)
        except UsageError:
            continue  # told with all that are in danger
        except DataError as error:
            missing = f"{key} not found: {text}" if "does not exist" in str(error) else str(error)
            yield DoctorFinding("data", False, missing, f"set {key} to where your data are")
            continue
        if problem := _of_table(found) if source == "table" else _of_folder(found):
            yield DoctorFinding(
                "data", False, f"{key} = {text}: {problem}", f"`crossmodalnet data check {text}` says more"
            )


def _archives(section: str, urls: Sequence[Archive]) -> Iterator[DoctorFinding]:
    for archive in urls:
        if (local := local_archive(archive.url)) and not local.exists():
            told = f"{section}.urls: {archive.url} does not exist"
            yield DoctorFinding("data", False, told, "correct the address")


def _of_table(path: Path) -> str | None:
    if path.is_dir():
        return None if is_nnunet(path) else "a folder without dataset.json and imagesTr"
    wrong = [finding for finding in read_table_file(path).findings if finding.severity == "error"]
    return f"{len(wrong)} error(s), the first: {wrong[0].case}: {wrong[0].what}" if wrong else None


def _of_folder(path: Path) -> str | None:
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        return "cannot be read by this user"
    if not path.is_dir():
        return None if path.suffix.lower() == ".zip" else "neither a folder nor a zip archive"
    files = (name for _, _, names in os.walk(path, followlinks=True) for name in names)
    seen = list(islice(files, MAX_ENTRIES))
    if len(seen) < MAX_ENTRIES and not any(parse(name) or name.lower().endswith(".zip") for name in seen):
        return "holds no file called like ct_train_1001_image.nii.gz, and no zip archive"
    return None


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
