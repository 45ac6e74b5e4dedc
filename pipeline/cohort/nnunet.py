"""A folder laid out as nnU-Net wants it: dataset.json, imagesTr/case_0000.nii.gz, labelsTr/case.nii.gz."""

import json
import re
from pathlib import Path
from typing import Any

from crossmodalnet.imaging.codes import BACKGROUND, own_codes, structure_named
from crossmodalnet.imaging.read import SUFFIXES
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.io.table_text import name_problem
from pipeline.cohort.integrity import CohortFinding
from pipeline.cohort.pairs import Role
from pipeline.cohort.table import ScanRow, ScanTable, real_path

DESCRIPTION = "dataset.json"
MAX_BYTES = 2**24
_IMAGE = re.compile(
    rf"(?P<case>.+)_(?P<channel>\d{{4}})(?:{'|'.join(map(re.escape, SUFFIXES))})", re.IGNORECASE
)
# Images, labels, and the role of the cases that have a label: the split decides over those to train.
_PARTS: tuple[tuple[str, str, Role | None], ...] = (
    ("imagesTr", "labelsTr", None), ("imagesTs", "labelsTs", "test"),
)  # fmt: skip


def is_nnunet(folder: Path) -> bool:
    """Tell whether a folder is laid out for nnU-Net."""
    return (folder / DESCRIPTION).is_file() and (folder / "imagesTr").is_dir()


def read_nnunet(folder: Path) -> ScanTable:
    """List the scans of an nnU-Net data set; a case is a patient, a channel a modality.

    Channels are CT and MR by their names in dataset.json (`channel_names`, or `modality` in version 1), else 0000 is
    CT and 0001 MR. Labels are read by their names there. No image is opened.
    """
    table = ScanTable(folder.resolve())
    try:
        description = _description(folder / DESCRIPTION)
    except ValueError as error:
        remedy = "write it as nnU-Net documents it"
        table.findings.append(CohortFinding("error", "table", DESCRIPTION, str(error), remedy))
        return table
    channels = _channels(description, table)
    _read_codes(description, table)
    for images, labels, role in _PARTS:
        _take_part(table.root / images, table.root / labels, role, channels, table)
    if not table.rows and not any(f.severity == "error" for f in table.findings):
        what = "no case in imagesTr"
        remedy = "images are called CASE_0000.nii.gz (CT) and CASE_0001.nii.gz (MR)"
        table.findings.append(CohortFinding("error", "table", "imagesTr", what, remedy))
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
    """Give the modality by channel number in four digits."""
    names = description.get("channel_names", description.get("modality"))
    names = names if isinstance(names, dict) else {}
    found: dict[str, Modality] = {}
    for number, modality in enumerate(Modality):
        given = str(names.get(str(number), modality.value))
        told = next((m for m in Modality if given.lower().startswith(m.value)), None)
        if told is None:
            what = f"channel {number} is called {given!r}: taken as {modality.value.upper()}"
            remedy = 'name the channels "CT" and "MR" in dataset.json'
            table.findings.append(CohortFinding("warning", "table", DESCRIPTION, what, remedy))
        found[f"{number:04d}"] = told or modality
    if len(set(found.values())) < len(found) and len(names) > 1:
        what = f"two channels of one modality: {', '.join(map(str, names.values()))}"
        remedy = "one CT and one MR per case; take the other channel out"
        table.findings.append(CohortFinding("error", "table", DESCRIPTION, what, remedy))
    return found


def _read_codes(description: dict[str, Any], table: ScanTable) -> None:
    """Find our structures among the labels, which are value by name, or in version 1 name by value."""
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
            table.findings.append(CohortFinding("error", "table", DESCRIPTION, what, remedy))
            continue
        index = structure_named(name)
        if index is None:
            what = f"label {name!r} ({value}) is none of our structures: read as background"
            remedy = "name it in data.labels if it is one"
            table.findings.append(CohortFinding("warning", "table", DESCRIPTION, what, remedy))
        key = BACKGROUND if index is None else STRUCTURES[index - 1].abbreviation
        mapping.setdefault(key, []).append(value)
    try:
        table.codes = own_codes(mapping, DESCRIPTION)
    except ValueError as error:
        remedy = "correct the labels in dataset.json, or set data.labels"
        table.findings.append(CohortFinding("error", "table", DESCRIPTION, f"labels: {error}", remedy))


def _take_part(
    images: Path, labels: Path, role: Role | None, channels: dict[str, Modality], table: ScanTable
) -> None:
    maps = _label_maps(labels, table)
    for path in _listed(images, table):
        match = _IMAGE.fullmatch(path.name)
        modality = channels.get(match["channel"]) if match else None
        if match is None or modality is None:
            continue
        case = match["case"]
        real = real_path(path)
        if real is None or not real.is_relative_to(table.root):
            what, remedy = "image lies outside the data set's folder", "no links out of it: copy the file"
            table.findings.append(CohortFinding("error", case, table.known_as(path), what, remedy))
        elif problem := name_problem(case):
            table.findings.append(
                CohortFinding("error", case, table.known_as(path), problem, "rename the case")
            )
        else:
            label = maps.get(case)
            given = role if label else None
            table.rows.append(ScanRow(None, case, modality, path, label, given, needs_label=role is None))


def _listed(folder: Path, table: ScanTable) -> list[Path]:
    """List a folder in order; one that cannot be listed is a finding."""
    try:
        return sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        what = f"folder cannot be listed ({error.strerror})"
        table.findings.append(
            CohortFinding("error", "table", table.known_as(folder), what, "look at its permissions")
        )
        return []


def _label_maps(folder: Path, table: ScanTable) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in _listed(folder, table):
        suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
        if suffix is None:
            continue
        case = path.name[: -len(suffix)]
        real = real_path(path)
        if real is None or not real.is_relative_to(table.root):
            what, remedy = "label map lies outside the data set's folder", "no links out of it: copy the file"
            table.findings.append(CohortFinding("error", case, table.known_as(path), what, remedy))
        found.setdefault(case, path)
    return found
