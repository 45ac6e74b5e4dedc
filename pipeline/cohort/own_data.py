"""Check a table or an nnU-Net folder in place, then copy it into the layout of MM-WHS."""

import logging
import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.codes import CODE_SETS, LabelCodes, own_codes
from crossmodalnet.imaging.dicom import is_dicom_file
from crossmodalnet.imaging.geometry import reoriented
from crossmodalnet.imaging.inspect import UNKNOWN_CODES
from crossmodalnet.imaging.nifti import write_codes, write_image
from crossmodalnet.imaging.read import format_of, read_scan
from crossmodalnet.imaging.resample import straightened
from crossmodalnet.imaging.structures import ABBREVIATIONS, to_codes
from crossmodalnet.imaging.volume import Volume
from pipeline.cohort.guard import csv_in, existing_path, is_output
from pipeline.cohort.integrity import Reports, Scan, check_scans, each_scan
from pipeline.cohort.mmwhs import place_packed
from pipeline.cohort.nnunet import DESCRIPTION, is_nnunet, read_nnunet
from pipeline.cohort.pairs import Subject
from pipeline.cohort.table import ScanTable, check_consistency, read_table_file, real_path
from pipeline.config.sections import DataConfig
from pipeline.runtime.workers import ALL_CORES, RuntimeConfig

logger = logging.getLogger(__name__)

# Leftover files that are listed.
MOST_LEFT = 1000


def is_own(path: Path) -> bool:
    """Check whether a path is an nnU-Net folder or a table."""
    return is_nnunet(path) if path.is_dir() else path.suffix.lower() != ".zip"


def check_own(
    params: DataConfig, runtime: RuntimeConfig = ALL_CORES, *, needs_labels: bool = True
) -> tuple[ScanTable, Reports]:
    """Read a table or an nnU-Net folder and all its files to their ends, without writing."""
    table = _read(params)
    check_consistency(table)
    table.codes = _codes(params, table)
    if params.labels == "auto" and any(
        finding.file == DESCRIPTION for finding in table.findings if finding.severity == "error"
    ):
        return table, {}  # without the meaning of values, every label map would be wrong
    is_sound = not any(finding.severity == "error" for finding in table.findings)
    if is_sound:
        _find_leftovers(table)
    if not table.scans:
        return table, {}
    once = list({scan.name: scan for scan in reversed(table.scans)}.values())[::-1]
    findings, reports = check_scans(
        once, table.known_as, table.codes, read_scan, runtime, any_axes=True, needs_labels=needs_labels and is_sound
    )
    table.findings += findings
    _check_structures(table, reports)
    return table, reports


def subjects_of(table: ScanTable, folder: Path) -> list[Subject]:
    """Return the subjects with the files that `lay_out_own` writes."""
    return [
        Subject(
            name=scan.name,
            modality=scan.modality,
            image=folder / f"{scan.name}_image.nii.gz",
            label=folder / f"{scan.name}_label.nii.gz" if scan.label else None,
            patient=scan.patient,
            role=scan.role,
            missing=table.codes.missing if scan.label else (),
        )
        for scan in table.scans
    ]


def lay_out_own(table: ScanTable, reports: Reports, folder: Path, runtime: RuntimeConfig = ALL_CORES) -> list[Subject]:
    """Write a sound cohort as NIfTI images and label maps with the codes of MM-WHS."""
    plain = frozenset(name for name, (image, _) in reports.items() if image.is_plain)
    place = partial(_place, codes=table.codes, folder=folder, plain=plain)
    logger.debug("collected %s", ", ".join(scan.name for scan, _ in each_scan(place, table.scans, "collect", runtime)))
    logger.info("%s", table.codes.meaning)
    if table.codes.missing:
        missing = ", ".join(table.codes.missing)
        logger.warning("not delineated in this cohort, read as background and not scored: %s", missing)
    return subjects_of(table, folder)


def _read(params: DataConfig) -> ScanTable:
    if not isinstance(params.path, str):
        given = "none" if params.path is None else f"{len(params.path)}"
        raise DataError(
            f"data.source is table, which needs one data.path, {given} given: set it to a CSV with the columns "
            "patient, modality, image, label and role, or to a folder laid out for nnU-Net (docs/own_data.md)"
        )
    path = existing_path(params.path, "data.path")
    if not path.is_dir():
        return read_table_file(path)
    if not is_nnunet(path):
        raise DataError(
            f"{path} is a folder without dataset.json and imagesTr: give a CSV{csv_in(path)}, or lay it out as "
            "nnU-Net wants it (docs/own_data.md)"
        )
    return read_nnunet(path)


def _codes(params: DataConfig, table: ScanTable) -> LabelCodes:
    """Choose the meaning of label values: the user's, else the data set's, else MM-WHS."""
    if isinstance(params.labels, dict):
        codes = own_codes(params.labels)
    else:
        codes = table.codes if params.labels == "auto" else CODE_SETS[params.labels]
    try:
        return codes.without(params.missing)
    except ValueError as error:
        raise DataError(f"data.missing: {error}") from error


def _check_structures(table: ScanTable, reports: Reports) -> None:
    """Report a structure that no label map holds and `data.missing` does not list."""
    seen = {name for _, label in reports.values() for name in label.volumes_ml}
    if any(finding.kind == UNKNOWN_CODES for finding in table.findings):
        return  # other values stand for them
    never = [name for name in ABBREVIATIONS if name not in seen and name not in table.codes.missing]
    if seen and never:
        listed = ", ".join(never)
        remedy = f"data.labels gives other values their meaning; if nobody delineated them: data.missing: [{listed}]"
        table.error("all", "", f"{listed} in no label map", remedy)


def _find_leftovers(table: ScanTable) -> None:
    """Warn of unlisted files that look like scans, and folders of DICOM: rows may be missing."""
    taken = {file.resolve() for scan in table.scans for file in (scan.image, scan.label) if file}
    unlisted: list[OSError] = []
    for path in islice(_scans_below(table.root, taken, unlisted), MOST_LEFT):
        table.warning("table", path, "looks like a scan and is not taken", "add a row if it belongs to the cohort")
    for error in unlisted:
        what = f"folder cannot be listed ({error.strerror})"
        table.warning("table", Path(error.filename or table.root), what, "look at its permissions")


def _scans_below(root: Path, taken: set[Path], unlisted: list[OSError]) -> Iterator[Path]:
    for top, folders, files in os.walk(root, onerror=unlisted.append):
        folder = Path(top)
        if real_path(folder) in taken:
            folders.clear()
            continue
        # A table may lie beside the outputs of stages.
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not is_output(folder / name))
        shown = [folder / name for name in sorted(files) if not name.startswith(".")]
        yield from (path for path in shown if format_of(path) and real_path(path) not in taken)
        if any(not format_of(path) and is_dicom_file(path) for path in shown):
            yield folder


def _place(scan: Scan, codes: LabelCodes, folder: Path, plain: frozenset[str] = frozenset()) -> None:
    """Write the files of one scan; runs in worker processes."""
    image, label = (folder / f"{scan.name}_{kind}.nii.gz" for kind in ("image", "label"))
    assert scan.image is not None
    try:
        source = read_scan(scan.image)
        if format_of(scan.image) == "nifti" and scan.name in plain:
            place_packed(scan.image, image)
        else:
            volume = source.volume()
            volume = Volume(volume.data.astype(np.float32), volume.affine)
            write_image(image, straightened(volume, "linear", float(volume.data.min())))
        if scan.label:
            labels = read_scan(scan.label)
            values = labels.volume()
            # Tools differ in the order of rows and slices.
            if labels.says_orientation and not np.array_equal(values.affine, source.grid.affine):
                values = reoriented(values, source.grid)
            indices = Volume(to_codes(codes.to_indices(values.data)), source.grid.affine)
            written = straightened(indices, "nearest")
            write_codes(label, written.data, written.affine)
    except (ValueError, FileNotFoundError, PermissionError) as error:
        raise DataError(f"{scan.title}: {error}") from error
