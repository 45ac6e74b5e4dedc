"""Register every pair in worker processes; write the registered folder and quality table."""

import json
import logging
import shutil
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import read_image, read_label_map, write_image, write_label_map
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.io.console import track
from crossmodalnet.io.outputs import whole_file, whole_folder, write_json
from crossmodalnet.processes import scratch_folder
from crossmodalnet.registration import Registration, make_registration
from crossmodalnet.registration.ants import Transform, prepare_ct, prepare_mr, warp
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.registration.quality import Alignment, RegistrationError, implausible, label_dice, write_checkerboard
from pipeline.cohort.pairs import Pair
from pipeline.runtime.work import code_fingerprint, fingerprint, work_folder
from pipeline.runtime.workers import ALL_CORES, CaseCost, RuntimeConfig, Work, run_cases

logger = logging.getLogger(__name__)

# Measured on the phantom and on a pair of real size.
COST = CaseCost(base_mb=400, bytes_per_voxel=40)
COLUMNS = (
    "pair", "role", "initialisation", "mi_before", "mi_after", "label_dice",
    "negative_jacobian_share", "largest_displacement_mm", "inverse_error_mm", "shared_view", "seconds", "warning",
)  # fmt: skip
DONE = "done.json"
RESULTS = ("mr.nii.gz", "mr_label.nii.gz", "ct_label.nii.gz")
PICTURE = "checkerboard.png"
# Between the working grid's spacing and a real scan's.
_PICTURE_MM = 2.0


@dataclass(frozen=True)
class RegisterTask:
    """A pair to register, without its role, so training and test pairs are treated alike."""

    name: str
    ct: Path
    ct_label: Path | None
    mr: Path
    mr_label: Path | None
    config: RegistrationConfig


@dataclass(frozen=True)
class RegisterOutcome:
    """Outcome of one pair; `folder` is None if registration failed, `problem` says why, or doubts the result."""

    folder: Path | None
    reused: bool = False
    problem: str = ""


def register_pairs(
    pairs: list[Pair], config: RegistrationConfig, runtime: RuntimeConfig = ALL_CORES
) -> dict[str, Path]:
    """Register all pairs (labels optional) or reuse earlier results; return work folders by pair name.

    After all others: DataError for pairs that failed or got worse, ResourceError for those that killed workers.
    """
    tasks = [
        RegisterTask(pair.name, pair.ct.image, pair.ct.label, pair.mr.image, pair.mr.label, config) for pair in pairs
    ]
    work = Work(
        "register", COST, [path for task in tasks for path in (task.ct, task.mr)],
        # ANTs reads its seed from the environment once, at import.
        environment={"ANTS_RANDOM_SEED": str(config.seed)}, kept=True,
    )  # fmt: skip
    outcomes: dict[str, RegisterOutcome] = {}
    for task, outcome in track(run_cases(register_pair, tasks, work, runtime), "register", len(tasks)):
        outcomes[task.name] = outcome
        if outcome.problem:
            logger.warning("%s: registration %s", task.name, outcome.problem)
    folders = {name: outcome.folder for name, outcome in outcomes.items() if outcome.folder}
    if failed := sorted(set(outcomes) - set(folders)):
        raise DataError("\n".join([
            f"{len(failed)} of {len(outcomes)} pairs could not be registered:",
            *(f"  {name}: {outcomes[name].problem}" for name in failed),
            "Look at their images: the usual cause is another region of the body or a wrong orientation in the "
            "header. Remove or repair these subjects, or change register.working_spacing_mm or min_gain. "
            "The other pairs are kept and not registered again.",
        ]))  # fmt: skip
    logger.info("register: %d of %d pairs reused", sum(o.reused for o in outcomes.values()), len(tasks))
    return {pair.name: folders[pair.name] for pair in pairs}


def register_pair(task: RegisterTask) -> RegisterOutcome:
    """Register a pair, or reuse an earlier result for the same files, parameters and code.

    Labels are warped and compared, and influence nothing else.
    """
    files = [task.ct, task.ct_label, task.mr, task.mr_label]
    key = fingerprint(task.config, files, code_fingerprint("register"), version("antspyx"))
    folder = work_folder("register", key)
    if (folder / DONE).is_file():
        return RegisterOutcome(folder, reused=True)
    start = time.monotonic()
    ct, mr = read_image(task.ct), read_image(task.mr)
    registration = make_registration(task.config)
    with scratch_folder() as scratch:
        try:
            alignment = registration.register(ct, mr, scratch)
        except RegistrationError as error:
            return RegisterOutcome(None, problem=f"failed: {error}")
        agreement = _write_warped(task, ct, mr, registration, alignment.transform, folder)
        fixed, moving = prepare_ct(ct, _PICTURE_MM), prepare_mr(mr, _PICTURE_MM)
        moved = warp(moving, fixed.grid, alignment.transform.files, "linear")
        write_checkerboard(scratch / PICTURE, fixed, moved)
        # Another run may be copying the picture of the same pair.
        with whole_file(folder / PICTURE) as temporary:
            shutil.copyfile(scratch / PICTURE, temporary)
    record = _record(alignment, agreement)
    write_json(folder / DONE, {**record, "seconds": round(time.monotonic() - start, 1)})
    return RegisterOutcome(folder, problem=alignment.doubt)


def read_record(folder: Path) -> dict[str, Any]:
    """Read a finished pair's row of the quality table."""
    return json.loads((folder / DONE).read_text("utf-8"))


def write_registered(pairs: list[Pair], folders: dict[str, Path], target: Path) -> None:
    """Write a folder per labelled pair: ct, mr, ct_label and mr_label on the CT's grid."""
    with whole_folder(target) as new:
        for pair in pairs:
            folder = new / pair.name
            folder.mkdir()
            shutil.copyfile(pair.ct.image, folder / "ct.nii.gz")
            for name in RESULTS:
                shutil.copyfile(folders[pair.name] / name, folder / name)


def write_quality(pairs: list[Pair], folders: dict[str, Path], target: Path) -> None:
    """Write the quality table (no label Dice for test pairs) and checkerboards; warn of bad pairs."""
    rows = []
    with whole_folder(target) as new:
        (new / "checkerboards").mkdir()
        for pair in pairs:
            record = read_record(folders[pair.name])
            if pair.role == "test":
                record["label_dice"] = ""
            if record["warning"]:
                logger.warning("%s: registration: %s; look at its checkerboard", pair.name, record["warning"])
            rows.append({"pair": pair.name, "role": pair.role, **record})
            shutil.copyfile(folders[pair.name] / PICTURE, new / "checkerboards" / f"{pair.name}.png")
        pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(new / "pairs.csv", index=False)


def _write_warped(
    task: RegisterTask, ct: Volume, mr: Volume, registration: Registration, transform: Transform, folder: Path
) -> float | None:
    """Write the warped MR and the label maps; return their mean Dice, None if one is missing."""
    write_image(folder / "mr.nii.gz", registration.warp_image(mr, ct.grid, transform))
    ct_label = read_label_map(task.ct_label) if task.ct_label else None
    if ct_label:
        write_label_map(folder / "ct_label.nii.gz", ct_label)
    if task.mr_label is None:
        return None
    grid = ct_label.grid if ct_label else ct.grid
    mr_label = registration.warp_labels(read_label_map(task.mr_label), grid, transform)
    write_label_map(folder / "mr_label.nii.gz", mr_label)
    return label_dice(mr_label, ct_label) if ct_label else None


def _record(alignment: Alignment, agreement: float | None) -> dict[str, Any]:
    """Return a pair's row of the quality table."""
    record = {
        "initialisation": alignment.transform.start,
        **asdict(alignment.quality),
        **({} if agreement is None else {"label_dice": agreement}),
        "warning": "; ".join(implausible(alignment.quality)),
    }
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in record.items()}
