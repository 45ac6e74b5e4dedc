"""Gather a cohort: make the phantom or collect files, check them, and resample them to right-angled grids."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from crossmodalnet.imaging.codes import whole_values
from crossmodalnet.imaging.inspect import Finding
from crossmodalnet.imaging.nifti import write_codes, write_image
from crossmodalnet.imaging.resample import straightened
from crossmodalnet.imaging.structures import STRAY_CODES, Modality, to_codes
from crossmodalnet.imaging.untrusted import read_untrusted
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.phantom.generate import make_subject
from pipeline.cohort.integrity import check_scans, is_settled, require_sound
from pipeline.cohort.mmwhs import lay_out_mmwhs, scans_in, subjects_of
from pipeline.cohort.own_data import check_own, lay_out_own
from pipeline.cohort.pairs import Subject
from pipeline.config.sections import DataConfig, PhantomConfig
from pipeline.runtime.workers import ALL_CORES, CaseCost, RuntimeConfig, Work, run_cases

logger = logging.getLogger(__name__)

FIRST_LABELLED, FIRST_UNLABELLED = 1001, 2001
# Memory hardly grows with the scan (docs/results/performance.md).
PHANTOM_COST = CaseCost(base_mb=400)
# As in MM-WHS, one MR label map has a few voxels of a stray code.
STRAY_NUMBER, NUM_STRAY = 1002, 12


def gather_cohort(
    folder: Path,
    params: DataConfig,
    runtime: RuntimeConfig = ALL_CORES,
    *,
    needs_labels: bool = True,
    section: str = "data",
) -> list[Subject]:
    """Make the phantom, or collect MM-WHS or your own data, and read every file to its end.

    `section` names that of `params` in messages: `data` or `adapt.target`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if params.source == "table":
        table, reports = check_own(params, runtime, needs_labels=needs_labels)
        require_sound(table.findings)
        return lay_out_own(table, reports, folder, runtime)
    origins: Mapping[str, str] = {}
    findings: list[Finding] = []
    if params.source == "phantom":
        make_phantom_cohort(folder, params.phantom, runtime)
    else:
        origins, findings = lay_out_mmwhs(folder, params, section)
    scans = scans_in(folder)
    check_findings, reports = check_scans(
        scans, lambda path: origins.get(path.name, path.name), runtime=runtime, needs_labels=needs_labels
    )
    require_sound([*findings, *check_findings])
    for scan in scans:
        if scan.image and not is_settled(reports[scan.name]):
            _settle(scan.image, scan.label)
            logger.info("%s: written anew on one right-angled grid", scan.name)
    same = params.source == "phantom" and params.phantom.same_patients
    # In MM-WHS, ct_1001 and mr_1001 are two people.
    return [replace(s, patient=s.name.partition("_")[2]) if same else s for s in subjects_of(scans)]


def make_phantom_cohort(folder: Path, params: PhantomConfig, runtime: RuntimeConfig = ALL_CORES) -> None:
    """Write the phantom cohort under the file names of MM-WHS; the same `params` give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [FIRST_LABELLED + i for i in range(params.num_labelled)]
    numbers += [FIRST_UNLABELLED + i for i in range(params.num_unlabelled)]
    tasks = [(_stem(modality, number), modality, number) for number in numbers for modality in Modality]
    write = partial(_write_subject, folder=folder, params=params)
    for (stem, _, _), _ in run_cases(write, tasks, Work("phantom", PHANTOM_COST), runtime):
        logger.debug("made %s", stem)
    logger.info("phantom: %d subjects in %s", len(tasks), folder)


def _stem(modality: Modality, number: int) -> str:
    return f"{modality.value}_{'train' if number < FIRST_UNLABELLED else 'test'}_{number}"


def _write_subject(task: tuple[str, Modality, int], folder: Path, params: PhantomConfig) -> None:
    """Make one subject; runs in worker processes."""
    stem, modality, number = task
    spacing_mm = params.ct_spacing_mm if modality is Modality.CT else params.mr_spacing_mm
    image, label = make_subject(
        modality, spacing_mm, params.seed, number, params.scanner, same_patient=params.same_patients
    )
    write_image(folder / f"{stem}_image.nii.gz", image)
    if number >= FIRST_UNLABELLED:
        return
    codes = to_codes(label.data)
    if modality is Modality.MR and number == STRAY_NUMBER:
        [(stray, code)] = STRAY_CODES.items()
        codes.flat[np.flatnonzero(codes == code)[:NUM_STRAY]] = stray
    write_codes(folder / f"{stem}_label.nii.gz", codes, label.affine)


def _settle(image: Path, label: Path | None) -> None:
    """Resample an image and its label map to one right-angled grid; label values are rounded."""
    volume = read_untrusted(image).volume()
    volume = Volume(volume.data.astype(np.float32), volume.affine)
    if label is not None:
        values = read_untrusted(label).volume().data
        codes = Volume(whole_values(values).astype(np.int16), volume.affine)
        settled = straightened(codes, "nearest")
        write_codes(label, settled.data, settled.affine)
    write_image(image, straightened(volume, "linear", float(volume.data.min())))
