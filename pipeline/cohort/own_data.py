"""Check a table or an nnU-Net folder where it lies, then lay it out like MM-WHS."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.codes import CODE_SETS, LabelCodes, own_codes
from crossmodalnet.imaging.geometry import reoriented
from crossmodalnet.imaging.nifti import write_codes, write_image
from crossmodalnet.imaging.read import format_of, is_dicom_file, read_scan
from crossmodalnet.imaging.resample import settled_codes, settled_image
from crossmodalnet.imaging.structures import ABBREVIATIONS, to_codes
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.io.console import track
from pipeline.cohort.guard import existing_path, is_output
from pipeline.cohort.integrity import (
    COST,
    SEQUENTIAL_BYTES,
    CaseFiles,
    CaseReport,
    CohortFinding,
    Reading,
    check_cases,
    file_bytes,
)
from pipeline.cohort.mmwhs import place_packed
from pipeline.cohort.nnunet import is_nnunet, read_nnunet
from pipeline.cohort.pairs import Subject
from pipeline.cohort.table import ScanRow, ScanTable, consistency_findings, read_table_file, real_path
from pipeline.config.sections import DataConfig
from pipeline.runtime.workers import ALL_CORES, RuntimeConfig, Work, run_cases

logger = logging.getLogger(__name__)


# More than these are not a few forgotten rows but a folder that is shared with other work: they are counted instead.
MOST_NAMED = 50


def leftover_findings(table: ScanTable) -> list[CohortFinding]:
    """List the files below the folder that could be scans or label maps and are not taken; a folder of DICOM once.

    More than `MOST_NAMED` are counted by the folder, directly below the table's, in which they lie.
    """
    taken = {file for row in table.rows for file in (row.image, row.label) if file}
    unlisted: list[OSError] = []
    scans = list(_scans(table.root, {path.resolve() for path in taken}, unlisted))
    if len(scans) <= MOST_NAMED:
        found = [
            CohortFinding(
                "warning",
                "table",
                table.known_as(path),
                "looks like a scan and is not taken",
                "add it, or not",
            )
            for path in scans
        ]
    else:
        folders = Counter(table.root.joinpath(*path.relative_to(table.root).parts[:-1][:1]) for path in scans)
        found = [
            CohortFinding(
                "warning", "table", table.known_as(folder),
                f"number of files below that look like scans and are not taken: {count}",
                "add them, or give the table a folder of its own",
            )
            for folder, count in sorted(folders.items())
        ]  # fmt: skip
    return found + [
        CohortFinding(
            "warning", "table", table.known_as(Path(error.filename or table.root)),
            f"folder cannot be listed ({error.strerror})", "look at its permissions",
        )
        for error in unlisted
    ]  # fmt: skip


def _scans(root: Path, taken: set[Path], unlisted: list[OSError]) -> Iterator[Path]:
    for top, folders, files in os.walk(root, onerror=unlisted.append):
        folder = Path(top)
        if real_path(folder) in taken:
            folders.clear()
            continue
        # A table may lie at the top of the clone: what the stages wrote is nobody's forgotten row.
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not is_output(folder / name)
        )
        shown = [folder / name for name in sorted(files) if not name.startswith(".")]
        yield from (path for path in shown if format_of(path) and real_path(path) not in taken)
        if any(not format_of(path) and is_dicom_file(path) for path in shown):
            yield folder


@dataclass(frozen=True)
class OwnCohort:
    """Data of a group's own, every file of which was read.

    Attributes:
        table: scans, and the folder they lie in.
        codes: meaning of the values of label maps, with the structures that are missing.
        findings: all that is wrong, and all that should be known.
        reports: what reading the files told, by name of the subject.
    """

    table: ScanTable
    codes: LabelCodes
    findings: list[CohortFinding]
    reports: dict[str, CaseReport]

    @property
    def meaning(self) -> str:
        """What the values of label maps are taken for, in words."""
        values = (f"{name} {'/'.join(map(str, codes))}" for name, codes in self.codes.codes.items())
        return f"label values ({self.codes.title}): {', '.join(values)}"

    def subjects(self, folder: Path) -> list[Subject]:
        """The subjects, files being those that `lay_out_own` writes into `folder`."""
        return [
            Subject(
                name=row.name,
                modality=row.modality,
                image=folder / f"{row.name}_image.nii.gz",
                label=folder / f"{row.name}_label.nii.gz" if row.label else None,
                patient=row.patient,
                role=row.role,
                missing=self.codes.missing if row.label else (),
            )
            for row in self.table.rows
        ]


def check_own(
    params: DataConfig, runtime: RuntimeConfig = ALL_CORES, *, needs_labels: bool = True
) -> OwnCohort:
    """Read a table or an nnU-Net folder and all of its files to their ends; nothing is written.

    Args:
        params: `path`, `labels` and `missing`.
        runtime: section `runtime`.
        needs_labels: whether lacking label maps are errors.

    Raises:
        DataError: no path, several, or nothing there that could be a table or an nnU-Net folder.
    """
    table = _read(params)
    table.findings += consistency_findings(table)
    codes = _codes(params, table)
    cases = [
        CaseFiles(
            row.name, row.modality, "train" if row.needs_label else "test", row.image, row.label, row.row
        )
        for row in table.rows
    ]
    # A scan that is there twice is told already; its files are read once.
    once = list({case.name: case for case in reversed(cases)}.values())[::-1]
    findings = [*table.findings, *leftover_findings(table)]
    if not table.rows:
        return OwnCohort(table, codes, findings, {})
    checked = check_cases(
        once, table.known_as, Reading(codes, read_scan, any_axes=True), runtime, needs_labels=needs_labels
    )
    findings += [*checked.findings, *_never_seen(codes, checked.reports)]
    return OwnCohort(table, codes, findings, checked.reports)


def lay_out_own(cohort: OwnCohort, folder: Path, runtime: RuntimeConfig = ALL_CORES) -> list[Subject]:
    """Write a sound cohort into a folder: images as they are or as NIfTI, label maps with the codes of MM-WHS.

    Raises:
        DataError: a file has become unreadable since it was checked.
    """
    rows = cohort.table.rows
    # A label map is written anew in any case; the image as well where something of it had to be assumed.
    settled = frozenset(name for name, report in cohort.reports.items() if report.is_image_plain)
    place = partial(_place, codes=cohort.codes, folder=folder, settled=settled)
    if sum(file_bytes(row.image) for row in rows) < SEQUENTIAL_BYTES:
        done = ((row, place(row)) for row in rows)
        names = [row.name for row, _ in track(done, "collect", len(rows))]
    else:
        work = Work("collect", COST, [row.image for row in rows])
        results = run_cases(place, rows, work, runtime)
        names = [row.name for row, _ in track(results, "collect", len(rows))]
    logger.debug("collected %s", ", ".join(names))
    logger.info("%s", cohort.meaning)
    if cohort.codes.missing:
        logger.warning(
            "not delineated in this cohort, read as background and not scored: %s",
            ", ".join(cohort.codes.missing),
        )
    return cohort.subjects(folder)


def is_own(path: Path) -> bool:
    """Tell whether a path is that of an nnU-Net folder, or of a file that can only be meant as a table."""
    return is_nnunet(path) if path.is_dir() else path.suffix.lower() != ".zip"


def _read(params: DataConfig) -> ScanTable:
    if not isinstance(params.path, str):
        given = "none" if params.path is None else f"{len(params.path)}"
        raise DataError(
            f"data.source is table, which needs one data.path, {given} given: set it to a CSV with the columns "
            "patient, modality, image, label and role, or to a folder laid out for nnU-Net (docs/own_data.md)"
        )
    path = existing_path(params.path, "data.path")
    if path.is_dir():
        if not is_nnunet(path):
            raise DataError(
                f"data.path = {path} is a folder without dataset.json and imagesTr: give a CSV, or lay it out as "
                "nnU-Net wants it (docs/own_data.md)"
            )
        return read_nnunet(path)
    return read_table_file(path)


def _codes(params: DataConfig, table: ScanTable) -> LabelCodes:
    """Find the meaning of label values: what the user says, then what the data set says, then MM-WHS."""
    if isinstance(params.labels, dict):
        codes = own_codes(params.labels)
    elif params.labels == "auto":
        codes = table.codes or CODE_SETS["mmwhs"]
    else:
        codes = CODE_SETS[params.labels]
    try:
        return codes.without(params.missing)
    except ValueError as error:
        raise DataError(f"data.missing: {error}") from error


def _never_seen(codes: LabelCodes, reports: dict[str, CaseReport]) -> list[CohortFinding]:
    """A structure that no label map holds would be trained and scored as one that nobody has."""
    seen = {name for report in reports.values() for name in report.structures}
    if not seen:
        return []
    never = [name for name in ABBREVIATIONS if name not in seen and name not in codes.missing]
    what = f"{', '.join(never)} in no label map"
    remedy = f"list what the data set does not delineate: data.missing: [{', '.join(never)}]"
    return [CohortFinding("error", "all", "", what, remedy)] if never else []


def _place(row: ScanRow, codes: LabelCodes, folder: Path, settled: frozenset[str] = frozenset()) -> None:
    """Write the files of one scan; runs in worker processes."""
    image, label = (folder / f"{row.name}_{kind}.nii.gz" for kind in ("image", "label"))
    try:
        if format_of(row.image) == "nifti" and row.name in settled:
            place_packed(row.image, image)
            grid = read_scan(row.image).grid if row.label else None
        else:
            volume = read_scan(row.image).volume()
            grid = volume.grid
            write_image(image, settled_image(Volume(volume.data.astype(np.float32), volume.affine)))
        if row.label and grid:
            # What reads DICOM and what drew the labels rarely agree on the order of rows and slices.
            scan = read_scan(row.label)
            values = scan.volume()
            if scan.says_orientation and not np.array_equal(values.affine, grid.affine):
                values = reoriented(values, grid)
            written = settled_codes(to_codes(codes.to_indices(values.data)), grid)
            write_codes(label, written.data, written.affine)
    except ValueError as error:
        raise DataError(f"{row.title}: {error}") from error
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise DataError(f"{row.title}: {error}") from error
        raise
