"""Gather a cohort: make the phantom, or collect and check files."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crossmodalnet.imaging.codes import whole_values
from crossmodalnet.imaging.nifti import write_codes, write_image
from crossmodalnet.imaging.resample import settled_codes, settled_image
from crossmodalnet.imaging.structures import Modality, to_codes
from crossmodalnet.imaging.untrusted import UntrustedImage, read_untrusted
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.phantom.generate import make_subject
from crossmodalnet.phantom.scanner import Scanner
from pipeline.cohort.integrity import CaseFiles, CaseReport, require_sound
from pipeline.cohort.mmwhs import LayoutOutcome, check_folder, lay_out_mmwhs, scan, subjects
from pipeline.cohort.own_data import check_own, lay_out_own
from pipeline.cohort.pairs import Subject
from pipeline.config.sections import DataConfig, PhantomConfig
from pipeline.runtime.workers import ALL_CORES, CaseCost, RuntimeConfig, Work, run_cases

logger = logging.getLogger(__name__)


FIRST_LABELLED, FIRST_UNLABELLED = 1001, 2001
# A subject is made slab by slab, in memory that hardly grows with the scan (docs/benchmarks.md).
COST = CaseCost(base_mb=400)
# As in MM-WHS, one MR label map holds 421 where 420 (LA) is meant.
STRAY_NUMBER, LA_CODE, STRAY_CODE, NUM_STRAY = 1002, 420, 421, 12


@dataclass(frozen=True)
class _Task:
    folder: Path
    modality: Modality
    number: int
    seed: int
    spacing_mm: float
    scanner: Scanner
    same_patients: bool

    @property
    def stem(self) -> str:
        part = "train" if self.labelled else "test"
        return f"{self.modality.value}_{part}_{self.number}"

    @property
    def labelled(self) -> bool:
        return self.number < FIRST_UNLABELLED


def make_phantom_cohort(folder: Path, params: PhantomConfig, runtime: RuntimeConfig = ALL_CORES) -> None:
    """Write all images and label maps of the phantom cohort into `folder`: the same `params`, the same bytes.

    Names are those of MM-WHS: `ct_train_1001_image.nii.gz`, `ct_train_1001_label.nii.gz`, and without labels
    `ct_test_2001_image.nii.gz`. The label map of one MR holds a few 421 where 420 (LA) is meant, as
    published.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spacing = {Modality.CT: params.ct_spacing_mm, Modality.MR: params.mr_spacing_mm}
    numbers = [FIRST_LABELLED + i for i in range(params.num_labelled)]
    numbers += [FIRST_UNLABELLED + i for i in range(params.num_unlabelled)]
    tasks = [
        _Task(folder, m, n, params.seed, spacing[m], params.scanner, params.same_patients)
        for n in numbers
        for m in Modality
    ]
    for task, _ in run_cases(_write_subject, tasks, Work("phantom", COST), runtime):
        logger.debug("made %s", task.stem)
    logger.info("phantom: %d subjects in %s", len(tasks), folder)


def _write_subject(task: _Task) -> None:
    image, label = make_subject(
        task.modality,
        task.spacing_mm,
        task.seed,
        task.number,
        task.scanner,
        same_patient=task.same_patients,
    )
    write_image(task.folder / f"{task.stem}_image.nii.gz", image)
    if not task.labelled:
        return
    codes = to_codes(label.data)
    if task.modality is Modality.MR and task.number == STRAY_NUMBER:
        strays = np.flatnonzero(codes == LA_CODE)[:NUM_STRAY]
        codes.flat[strays] = STRAY_CODE
    write_codes(task.folder / f"{task.stem}_label.nii.gz", codes, label.affine)


def settle_cases(cases: list[CaseFiles], reports: Mapping[str, CaseReport]) -> None:
    """Write anew the files of those cases that later stages cannot take as they are; others keep their bytes.

    Args:
        cases: sound cases, whose files are ours.
        reports: what the check told, by name of the case.
    """
    for case in cases:
        if case.image and not reports[case.name].is_settled:
            settle_files(case.image, case.label)
            logger.info("%s: written anew on one right-angled grid", case.name)


def settle_files(image: Path, label: Path | None) -> None:
    """Write an image, and a label map that lies on it within the tolerance, on one right-angled grid."""
    volume = read_untrusted(image).volume()
    grid = volume.grid
    # Before the image is replaced: its grid is that of the label map.
    codes = None if label is None else whole_codes(read_untrusted(label))
    write_image(image, settled_image(Volume(volume.data.astype(np.float32), volume.affine)))
    if label is not None and codes is not None:
        settled = settled_codes(codes.data, grid)
        write_codes(label, settled.data, settled.affine)


def whole_codes(scan: UntrustedImage) -> Volume:
    """Take the values of a label map that was found sound, rounded where a float or a scaling has moved them."""
    volume = scan.volume()
    return Volume(whole_values(volume.data).astype(np.int16), volume.affine)


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
