"""Files beside a table that look like scans and are not taken: forgotten rows are seen so."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from crossmodalnet.imaging.kinds import format_of, is_dicom_file
from pipeline.cohort.findings import CohortFinding
from pipeline.cohort.guard import is_output
from pipeline.cohort.scan_table import ScanTable, real_path

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
