"""All pairs registered by parallel workers, the registered folder and its quality table put together."""

import logging
import shutil
from pathlib import Path

import pandas as pd

from pipeline.cohort.pairs import Pair
from pipeline.config.register import RegistrationConfig
from pipeline.preparation.implausible import implausible
from pipeline.preparation.register_pair import (
    PICTURE,
    RESULTS,
    RegisterOutcome,
    RegisterTask,
    read_record,
    register_pair,
)
from pipeline.runtime.console import track
from pipeline.runtime.errors import DataError
from pipeline.runtime.files import whole_folder
from pipeline.runtime.workers import ALL_CORES, CaseCost, RuntimeConfig, Work, run_cases

logger = logging.getLogger(__name__)

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
