"""A cohort in a folder of its own: made or collected, and checked before anything uses it."""

from dataclasses import replace
from pathlib import Path

from pipeline.cohort.findings import require_sound
from pipeline.cohort.integrity import check_folder, scan, subjects
from pipeline.cohort.mmwhs import LayoutOutcome, lay_out_mmwhs
from pipeline.cohort.own_data import check_own, lay_out_own
from pipeline.cohort.pairs import Subject
from pipeline.cohort.phantom import make_phantom_cohort
from pipeline.cohort.settling import settle_cases
from pipeline.config.sections import DataConfig
from pipeline.runtime.params import RuntimeConfig
from pipeline.runtime.run_cases import ALL_CORES


def gather_cohort(
    folder: Path,
    params: DataConfig,
    runtime: RuntimeConfig = ALL_CORES,
    *,
    needs_labels: bool = True,
    section: str = "data",
) -> list[Subject]:
    """Make the phantom, or collect MM-WHS or a group's own data, and read every file to its end.

    Args:
        folder: folder to be filled; made if need be.
        params: parameters of the cohort's origin.
        runtime: section `runtime`.
        needs_labels: whether lacking label maps are errors.
        section: section that the parameters are of, for messages: `data` or `adapt.target`.

    Returns:
        The subjects, in the order of `scan` or of the table.

    Raises:
        DataError: nothing found, or faults in the cohort; all of them in one table.
        ResourceError: no network or no disk space.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if params.source == "table":
        own = check_own(params, runtime, needs_labels=needs_labels)
        require_sound(own.findings)
        return lay_out_own(own, folder, runtime)
    laid_out = LayoutOutcome()
    if params.source == "phantom":
        make_phantom_cohort(folder, params.phantom, runtime)
    else:
        laid_out = lay_out_mmwhs(folder, params, section)
    checked = check_folder(folder, laid_out.origins, runtime, needs_labels=needs_labels)
    require_sound([*laid_out.findings, *checked.findings])
    settle_cases(scan(folder), checked.reports)
    same = params.source == "phantom" and params.phantom.same_patients
    # In MM-WHS ct_1001 and mr_1001 are two people; names alone do not tell.
    return [replace(s, patient=s.name.partition("_")[2]) if same else s for s in subjects(folder)]
