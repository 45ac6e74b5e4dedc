"""One pair, MR registered to CT in a worker process; its results are kept in the work folder and reused."""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from crossmodalnet.imaging.nifti import read_image, read_label_map, write_image, write_label_map
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.align import AlignSettings, align, bring_image, bring_labels
from crossmodalnet.registration.checkerboard import write_checkerboard
from crossmodalnet.registration.quality import Quality, label_dice
from crossmodalnet.registration.syn import Transform, prepare_ct, prepare_mr, warp
from pipeline.config.register import RegistrationConfig
from pipeline.config.registration_settings import align_settings
from pipeline.runtime.files import write_json
from pipeline.runtime.work import code_fingerprint, fingerprint, work_folder

DONE = "done.json"
RESULTS = ("mr.nii.gz", "mr_label.nii.gz", "ct_label.nii.gz")
PICTURE = "checkerboard.png"
# Thresholds at which a pair is named; they change no result.
WARNINGS = ("warn_folded_share", "warn_inverse_error_mm", "warn_shared_view")
# Finer than the working grid, coarser than a real scan.
_PICTURE_MM = 2.0


@dataclass(frozen=True)
class RegisterTask:
    """One pair to register; nothing in it tells a training from a test pair. Label maps may be lacking."""

    name: str
    ct: Path
    ct_label: Path | None
    mr: Path
    mr_label: Path | None
    params: RegistrationConfig


@dataclass(frozen=True)
class RegisterOutcome:
    """What became of a pair.

    Attributes:
        folder: folder with `RESULTS` (those of labels that there are), `PICTURE` and `DONE`.
        reused: whether an earlier run had registered it.
        problems: problems, one line per failed attempt.
        success: whether the last attempt was good.
    """

    folder: Path
    reused: bool
    problems: list[str]
    success: bool


def register_pair(task: RegisterTask) -> RegisterOutcome:
    """Register a pair, or find it registered; runs in a process with ANTs' seed in its environment.

    The work folder is keyed by the content of the files, the parameters, the code and ANTs' version.
    Labels are warped and compared, and influence nothing else.
    """
    folder = work_folder("register", _key(task))
    if (folder / DONE).is_file():
        return RegisterOutcome(folder, True, [], True)
    start = time.monotonic()
    ct, mr = read_image(task.ct), read_image(task.mr)
    with _scratch(folder) as scratch:
        settings = align_settings(task.params)
        found = align(ct, mr, settings, scratch)
        if found.transform is None or found.quality is None:
            return RegisterOutcome(folder, False, list(found.problems), False)
        agreement = _write_warped(task, ct, mr, found.transform, settings, folder)
        _write_picture(ct, mr, found.transform, scratch / PICTURE)
        # Another run may have the same pair, finished, and be copying its picture: never half a one.
        (scratch / PICTURE).replace(folder / PICTURE)
    _finish(folder, found.attempts, found.initialisation, found.quality, agreement, time.monotonic() - start)
    return RegisterOutcome(folder, False, list(found.problems), True)


def read_record(folder: Path) -> dict[str, float | int | str]:
    """Read the row of the quality table that a finished pair left."""
    record: dict[str, float | int | str] = json.loads((folder / DONE).read_text("utf-8"))
    return record


def _key(task: RegisterTask) -> str:
    params = task.params.model_dump(exclude=set(WARNINGS))
    files = [task.ct, task.ct_label, task.mr, task.mr_label]
    return fingerprint(params, files, code_fingerprint("register"), version("antspyx"))


def _write_warped(
    task: RegisterTask, ct: Volume, mr: Volume, transform: Transform, settings: AlignSettings, folder: Path
) -> float | None:
    """Write the warped MR and the label maps; returns the mean Dice of the two, None where one is lacking."""
    write_image(folder / "mr.nii.gz", bring_image(mr, ct.grid, transform, settings))
    ct_label = read_label_map(task.ct_label) if task.ct_label else None
    if ct_label:
        write_label_map(folder / "ct_label.nii.gz", ct_label)
    if task.mr_label is None:
        return None
    grid = ct_label.grid if ct_label else ct.grid
    mr_label = bring_labels(read_label_map(task.mr_label), grid, transform, settings)
    write_label_map(folder / "mr_label.nii.gz", mr_label)
    if ct_label is None:
        return None
    return label_dice(mr_label, ct_label)


def _write_picture(ct: Volume, mr: Volume, transform: Transform, path: Path) -> None:
    fixed, moving = prepare_ct(ct, _PICTURE_MM), prepare_mr(mr, _PICTURE_MM)
    write_checkerboard(path, fixed, warp(moving, fixed.grid, transform.files, "linear"))


def _finish(
    folder: Path,
    attempts: int,
    initialisation: str,
    quality: Quality,
    label_dice: float | None,
    seconds: float,
) -> None:
    measured = asdict(quality)
    record = {
        "attempts": attempts,
        "initialisation": initialisation,
        "mi_before": measured.pop("mi_before"),
        "mi_after": measured.pop("mi_after"),
        **({} if label_dice is None else {"label_dice": label_dice}),
        **measured,
    }
    rounded = {key: round(value, 6) if isinstance(value, float) else value for key, value in record.items()}
    write_json(folder / DONE, {**rounded, "seconds": round(seconds, 1)})


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Give ANTs an empty folder of its own; those that killed runs left are removed."""
    # Of this machine alone: `.work` may lie on a file system that others share, whose processes are not seen here.
    here = socket.gethostname()
    for stale in folder.glob("run-*"):
        _, owner, host = stale.name.split("-", 2)
        if host == here and (int(owner) == os.getpid() or not psutil.pid_exists(int(owner))):
            shutil.rmtree(stale, ignore_errors=True)
    scratch = folder / f"run-{os.getpid()}-{here}"
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
