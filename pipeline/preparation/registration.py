"""Register every pair in worker processes and write the registered folder and its quality table."""

import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import psutil

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import read_image, read_label_map, write_image, write_label_map
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.io.console import track
from crossmodalnet.io.outputs import whole_folder, write_json
from crossmodalnet.registration.align import AlignSettings, align, bring_image, bring_labels
from crossmodalnet.registration.ants import Transform, prepare_ct, prepare_mr, warp
from crossmodalnet.registration.quality import Bounds, Quality, label_dice, write_checkerboard
from crossmodalnet.registration.quality import implausible as beyond
from pipeline.cohort.pairs import Pair
from pipeline.config.register import RegistrationConfig
from pipeline.config.registration_settings import align_settings
from pipeline.runtime.work import code_fingerprint, fingerprint, work_folder
from pipeline.runtime.workers import ALL_CORES, CaseCost, RuntimeConfig, Work, run_cases

logger = logging.getLogger(__name__)


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


def implausible(record: Mapping[str, float | int | str], params: RegistrationConfig) -> str:
    """Say what is beyond the thresholds of the section, in one line; nothing where all is within them.

    Args:
        record: row of the quality table.
        params: section with the thresholds.
    """
    quality = Quality(**{field.name: float(record[field.name]) for field in fields(Quality)})
    bounds = Bounds(params.warn_folded_share, params.warn_inverse_error_mm, params.warn_shared_view)
    return "; ".join(beyond(quality, bounds))


# Measured on the phantom and on a pair of real size (docs/clusters.md).
COST = CaseCost(base_mb=400, bytes_per_voxel=40)

COLUMNS = (
    "pair", "role", "attempts", "initialisation", "mi_before", "mi_after", "label_dice",
    "negative_jacobian_share", "largest_displacement_mm", "inverse_error_mm", "shared_view", "seconds", "warning",
)  # fmt: skip


def register_pairs(
    pairs: list[Pair], params: RegistrationConfig, runtime: RuntimeConfig = ALL_CORES
) -> dict[str, Path]:
    """Register every pair that the work folder does not hold yet; subjects need no labels for it.

    Returns:
        Work folder by pair name, in the order of `pairs`.

    Raises:
        DataError: pairs that fail or get worse from every start; named after all others are done.
        ResourceError: pairs that killed the processes that registered them, named after all others are done.
    """
    tasks = [_task(pair, params) for pair in pairs]
    work = Work(
        "register", COST, [path for task in tasks for path in (task.ct, task.mr)],
        # ANTs reads its seed from the environment, once, when it is imported.
        environment={"ANTS_RANDOM_SEED": str(params.seed)}, kept=True,
    )  # fmt: skip
    outcomes: dict[str, RegisterOutcome] = {}
    for task, outcome in track(run_cases(register_pair, tasks, work, runtime), "register", len(tasks)):
        outcomes[task.name] = outcome
        for problem in outcome.problems:
            logger.warning("%s: registration %s", task.name, problem)
    if failed := [name for name, outcome in outcomes.items() if not outcome.success]:
        raise DataError(_explain(sorted(failed), outcomes))
    logger.info("register: %d of %d pairs reused", sum(o.reused for o in outcomes.values()), len(tasks))
    return {pair.name: outcomes[pair.name].folder for pair in pairs}


def write_registered(pairs: list[Pair], folders: dict[str, Path], target: Path) -> None:
    """Put together a folder per labelled pair: ct, mr, ct_label and mr_label, all on the CT's grid."""
    with whole_folder(target) as new:
        for pair in pairs:
            folder = new / pair.name
            folder.mkdir()
            shutil.copyfile(pair.ct.image, folder / "ct.nii.gz")
            for name in RESULTS:
                shutil.copyfile(folders[pair.name] / name, folder / name)


def write_quality(
    pairs: list[Pair], folders: dict[str, Path], params: RegistrationConfig, target: Path
) -> None:
    """Write the quality table and the checkerboards, and name pairs beyond the thresholds of `params`.

    The label Dice of test pairs is left out.
    """
    rows = []
    with whole_folder(target) as new:
        (new / "checkerboards").mkdir()
        for pair in pairs:
            record = read_record(folders[pair.name])
            if pair.role == "test":
                record["label_dice"] = ""
            if warning := implausible(record, params):
                logger.warning("%s: registration: %s; look at its checkerboard", pair.name, warning)
            rows.append({"pair": pair.name, "role": pair.role, **record, "warning": warning})
            picture = new / "checkerboards" / f"{pair.name}.png"
            shutil.copyfile(folders[pair.name] / PICTURE, picture)
        pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(new / "pairs.csv", index=False)


def _task(pair: Pair, params: RegistrationConfig) -> RegisterTask:
    return RegisterTask(pair.name, pair.ct.image, pair.ct.label, pair.mr.image, pair.mr.label, params)


def _explain(failed: list[str], outcomes: dict[str, RegisterOutcome]) -> str:
    lines = [f"  {name}: {'; '.join(outcomes[name].problems)}" for name in failed]
    return "\n".join([
        f"{len(failed)} of {len(outcomes)} pairs could not be registered:",
        *lines,
        "Look at their images: the usual cause is another region of the body or a wrong orientation in the "
        "header. Remove or repair these subjects, or change register.working_spacing_mm or min_gain. "
        "The other pairs are kept and not registered again.",
    ])  # fmt: skip
