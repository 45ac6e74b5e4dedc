"""Files beside a table that look like scans and are not taken: forgotten rows are seen so."""

import os
from collections.abc import Iterator
from pathlib import Path

from crossmodalnet.formats.kinds import format_of, is_dicom_file
from pipeline.sources.findings import CohortFinding
from pipeline.sources.scan_table import ScanTable, real_path


def leftover_findings(table: ScanTable) -> list[CohortFinding]:
    """List every file below the folder that could be a scan or label map and is not taken; a folder of DICOM once."""
    taken = {file for row in table.rows for file in (row.image, row.label) if file}
    return [
        CohortFinding(
            "warning", "table", table.known_as(path), "looks like a scan and is not taken", "add it, or not"
        )
        for path in _scans(table.root, {path.resolve() for path in taken})
    ]


def _scans(root: Path, taken: set[Path]) -> Iterator[Path]:
    for top, folders, files in os.walk(root):
        folder = Path(top)
        if real_path(folder) in taken:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = [folder / name for name in sorted(files) if not name.startswith(".")]
        yield from (path for path in shown if format_of(path) and real_path(path) not in taken)
        if any(not format_of(path) and is_dicom_file(path) for path in shown):
            yield folder
