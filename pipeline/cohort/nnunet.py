"""Read a cohort in nnU-Net's layout: dataset.json, imagesTr/case_0000.nii.gz, labelsTr/case.nii.gz."""

import json
import re
from pathlib import Path
from typing import Any

from crossmodalnet.imaging.codes import BACKGROUND, own_codes, structure_named
from crossmodalnet.imaging.read import SUFFIXES
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.io.table_text import MAX_BYTES, name_problem
from pipeline.cohort.integrity import Scan
from pipeline.cohort.pairs import Role
from pipeline.cohort.table import ScanTable, is_inside, scan_name

DESCRIPTION = "dataset.json"
_IMAGE = re.compile(rf"(?P<case>.+)_(?P<channel>\d{{4}})(?:{'|'.join(map(re.escape, SUFFIXES))})", re.IGNORECASE)


def is_nnunet(folder: Path) -> bool:
    """Check whether a folder has nnU-Net's layout."""
    return (folder / DESCRIPTION).is_file() and (folder / "imagesTr").is_dir()


def read_nnunet(folder: Path) -> ScanTable:
    """List the scans of an nnU-Net data set without opening images; a case is a patient, a channel a modality.

    dataset.json names the channels (`channel_names`, or `modality` in version 1); else 0000 is CT and 0001 MR.
    """
    table = ScanTable(folder.resolve())
    try:
        description = _description(folder / DESCRIPTION)
    except ValueError as error:
        table.error("table", DESCRIPTION, str(error), "write it as nnU-Net documents it")
        return table
    channels = _channels(description, table)
    _read_codes(description, table)
    _take_part("Tr", None, channels, table)
    _take_part("Ts", "test", channels, table)
    if not table.scans and not any(finding.severity == "error" for finding in table.findings):
        remedy = "images are called CASE_0000.nii.gz (CT) and CASE_0001.nii.gz (MR)"
        table.error("table", "imagesTr", "no case in imagesTr", remedy)
    return table


def _description(path: Path) -> dict[str, Any]:
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{size} bytes, at most {MAX_BYTES} are read")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        raise ValueError('has no "labels"')
    return content


def _channels(description: dict[str, Any], table: ScanTable) -> dict[str, Modality]:
    """Map channel numbers (four digits) to modalities."""
    names = description.get("channel_names", description.get("modality"))
    names = names if isinstance(names, dict) else {}
    channels: dict[str, Modality] = {}
    for number, default in enumerate(Modality):
        name = str(names.get(str(number), default.value))
        modality = next((m for m in Modality if name.lower().startswith(m.value)), None)
        if modality is None:
            what = f"channel {number} is called {name!r}: taken as {default.value.upper()}"
            table.warning("table", DESCRIPTION, what, 'name the channels "CT" and "MR" in dataset.json')
        channels[f"{number:04d}"] = modality or default
    if len(set(channels.values())) < len(channels) and len(names) > 1:
        what = f"two channels of one modality: {', '.join(map(str, names.values()))}"
        table.error("table", DESCRIPTION, what, "one CT and one MR per case; take the other channel out")
    return channels


def _read_codes(description: dict[str, Any], table: ScanTable) -> None:
    """Map labels to structures; dataset.json has values by name, or in version 1 names by value."""
    labels: dict[str, Any] = description["labels"]
    if labels and all(str(key).isdecimal() for key in labels):
        labels = {str(name): int(key) for key, name in labels.items()}
    mapping: dict[str, list[int]] = {}
    for name, value in labels.items():
        if name.lower() == BACKGROUND or value == 0:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or name.lower() == "ignore":
            what = f"label {name!r} = {value!r} is no value of one structure"
            remedy = "regions and ignored voxels are not supported: give every structure a value of its own"
            table.error("table", DESCRIPTION, what, remedy)
            continue
        index = structure_named(name)
        if index is None:
            what = f"label {name!r} ({value}) is none of our structures: read as background"
            table.warning("table", DESCRIPTION, what, "name it in data.labels if it is one")
        key = BACKGROUND if index is None else STRUCTURES[index - 1].abbreviation
        mapping.setdefault(key, []).append(value)
    try:
        table.codes = own_codes(mapping, DESCRIPTION)
    except ValueError as error:
        remedy = "correct the labels in dataset.json, or set data.labels"
        table.error("table", DESCRIPTION, f"labels: {error}", remedy)


def _take_part(part: str, role: Role | None, channels: dict[str, Modality], table: ScanTable) -> None:
    """Add the scans of `imagesTr` or `imagesTs`; the split assigns missing roles."""
    labels: dict[str, Path] = {}
    for path in _listed(table.root / f"labels{part}", table):
        if case := _case_of(path):
            _check_inside(path, case, "label map", table)
            labels.setdefault(case, path)
    for path in _listed(table.root / f"images{part}", table):
        match = _IMAGE.fullmatch(path.name)
        if match is None or match["channel"] not in channels:
            continue
        case, modality = match["case"], channels[match["channel"]]
        if not _check_inside(path, case, "image", table):
            continue
        if problem := name_problem(case):
            table.error(case, path, problem, "rename the case")
            continue
        label = labels.get(case)
        name = scan_name(modality, case)
        scan = Scan(name, modality, path, label, role is None, patient=case, role=role if label else None)
        table.scans.append(scan)


def _case_of(path: Path) -> str:
    """Remove a known suffix from a label map's name; empty for others."""
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    return path.name[: -len(suffix)] if suffix else ""


def _check_inside(path: Path, case: str, kind: str, table: ScanTable) -> bool:
    if is_inside(path, table.root):
        return True
    table.error(case, path, f"{kind} lies outside the data set's folder", "no links out of it: copy the file")
    return False


def _listed(folder: Path, table: ScanTable) -> list[Path]:
    """List a folder, sorted; report one that cannot be listed."""
    try:
        return sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        what = f"folder cannot be listed ({error.strerror})"
        table.error("table", folder, what, "look at its permissions")
        return []
