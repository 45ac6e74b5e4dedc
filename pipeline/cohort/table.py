"""Read a cohort from a CSV: one row per scan."""

import os
from dataclasses import dataclass, field
from functools import partialmethod
from itertools import product
from pathlib import Path

from crossmodalnet.imaging.codes import MMWHS, LabelCodes
from crossmodalnet.imaging.inspect import Finding, Severity
from crossmodalnet.imaging.read import SUFFIXES, format_of
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.untrusted import is_stored
from crossmodalnet.io import table_text
from crossmodalnet.io.table_text import TableError, file_name_of
from pipeline.cohort.integrity import Scan
from pipeline.cohort.pairs import ROLES

REQUIRED, OPTIONAL = ("patient", "modality", "image"), ("label", "role")
COLUMNS = (*REQUIRED, *OPTIONAL)
# Pairs of names that are compared letter by letter.
MAX_COMPARED = 1_000_000
MODALITIES = {"ct": Modality.CT, "cta": Modality.CT, "mr": Modality.MR, "mri": Modality.MR, "cmr": Modality.MR}


@dataclass
class ScanTable:
    """Scans of a table or an nnU-Net folder, before any image is opened; `root` is resolved."""

    root: Path
    scans: list[Scan] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    codes: LabelCodes = MMWHS

    def known_as(self, path: Path) -> str:
        """Return the path of a file relative to the root, as the user knows it."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def error(self, case: str, file: Path | str, what: str, remedy: str, severity: Severity = "error") -> None:
        """Add a finding for a case (`table` for all) and a file (may be empty)."""
        name = self.known_as(file) if isinstance(file, Path) else file
        self.findings.append(Finding(severity, what, remedy, case, name))

    warning = partialmethod(error, severity="warning")


def scan_name(modality: Modality, patient: str) -> str:
    """Name a scan after its modality and patient, for instance `ct_P03`."""
    return f"{modality.value}_{file_name_of(patient)}"


def real_path(path: Path) -> Path | None:
    """Resolve all links; None if they cannot be resolved."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return None


def is_inside(path: Path, root: Path) -> bool:
    """Check that a file lies below a folder, links followed but those into the store of DVC or git-annex."""
    real = real_path(path)
    if real is None or real == root:
        return False
    place = Path(os.path.abspath(path))  # noqa: PTH100  # `..` without following links
    return real.is_relative_to(root) or (is_stored(real) and place.is_relative_to(root))


def check_consistency(table: ScanTable) -> None:
    """Report contradictions between files, patients and roles; scans of one patient may share a label map."""
    scans: dict[tuple[str, Modality], Scan] = {}
    roles: dict[str, Scan] = {}
    spelled: dict[str, Scan] = {}
    files: dict[Path, tuple[Scan, str]] = {}
    for scan in table.scans:
        first = scans.setdefault((scan.patient, scan.modality), scan)
        if first is not scan:
            what = f"{scan.modality.value.upper()} of patient {scan.patient} a second time, after {first.title}"
            table.error(scan.title, scan.image or "", what, "keep one scan per patient and modality")
        first = roles.setdefault(scan.patient, scan) if scan.role else scan
        if first.role != scan.role:
            what = f"patient {scan.patient} is {scan.role} here and {first.role} in {first.title}"
            table.error(scan.title, "", what, "give all scans of a patient one role")
        first = spelled.setdefault(file_name_of(scan.patient).lower(), scan)
        if first.patient != scan.patient:
            what = f"patients {first.patient!r} and {scan.patient!r} would have files of one name"
            table.error(scan.title, "", what, "one person: write one name in both rows; else rename one of them")
        for file, use in ((scan.image, "image"), (scan.label, "label map")):
            if file is None:
                continue
            first, first_use = files.setdefault(file.resolve(), (scan, use))
            shared_label = use == first_use == "label map" and first.patient == scan.patient
            if (first is not scan or first_use != use) and not shared_label:
                what = f"the same file as the {first_use} of {first.title}"
                table.error(scan.title, file, what, "name each file once")
        if scan.role and scan.label is None:
            remedy = "add the label map, or leave the role empty"
            table.error(scan.title, scan.image or "", f"role {scan.role} without label map", remedy)
    _check_spellings(table)
    given = {scan.role for scan in table.scans if scan.role}
    is_whole = not any(finding.severity == "error" for finding in table.findings)  # a role may be misspelt
    if is_whole and table.scans and all(scan.role == "test" for scan in table.scans):
        table.error("table", "", "all rows have the role test", "write train in some, or leave the column empty")
    if given and "test" not in given and is_whole:
        what = f"roles are given ({', '.join(sorted(given))}), but no patient has the role test"
        remedy = "give some patients the role test, or leave all roles empty for the split to decide"
        table.error("table", "", what, remedy)


def _check_spellings(table: ScanTable) -> None:
    """Report names that may be one person's (001 and 1, P01 and p1): he would train and test as two.

    Names that say the modality (P1_ct, P1_mr) only cause a warning, as two people with one role do.
    """
    people = {scan.patient: scan for scan in reversed(table.scans)}
    for first, scan in ((people[a], people[b]) for a, b in table_text.alike_names(list(people)[::-1])):
        if file_name_of(first.patient).lower() == file_name_of(scan.patient).lower():
            continue
        what = f"patients {first.patient!r} and {scan.patient!r} may be one person"
        remedy = "one person: write one name in both rows; two people: tell them apart by letters (A1, B1)"
        names_modality = any(table_text.MODALITY_WORD.search(s.patient) for s in (first, scan))
        report = table.warning if names_modality or (scan.role and scan.role == first.role) else table.error
        report(scan.title, "", what, remedy)
    keys = [(people[name], *table_text.spelling_keys(name)) for name in list(people)[::-1]]
    lone = [{s.patient for s in table.scans if s.modality is m} for m in Modality]
    cts, mrs = ([item for item in keys if item[0].patient in own - other] for own, other in (lone, lone[::-1]))
    for (ct, a, number), (mr, b, other) in product(cts, mrs) if len(cts) * len(mrs) <= MAX_COMPARED else ():
        if number == other and is_slip(a, b):
            what = f"patients {ct.patient!r} and {mr.patient!r} differ by a letter, and have one scan each"
            remedy = "one person: write one name in both rows; two people: leave them so"
            table.warning(max(ct.title, mr.title), "", what, remedy)


def is_slip(a: str, b: str) -> bool:
    """Check that two names of four or more letters differ by one, and not in the last (Anna, Anne)."""
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    exchanged = a[start + 1 :], b[start + 1 :] if b[start + 1 : start + 2].strip() else None
    rests = (a[start + 1 :], b[start:]), (a[start:], b[start + 1 :]), exchanged
    are_long = all(sum(map(str.isalpha, name)) >= 4 for name in (a, b))
    return a != b and are_long and any(one == other for one, other in rests)


def read_table_file(path: Path) -> ScanTable:
    """Read a CSV with the columns patient, modality and image, and optionally label and role; no image is opened.

    Paths are relative to the folder of the table; files outside it are rejected, links included.
    """
    real = path.resolve()
    table = ScanTable(path.parent.resolve() if is_stored(real) else real.parent)
    try:
        text = table_text.read_table_text(path, COLUMNS)
        # The header first: where rows do not fit it, the header is wrong.
        columns, unused = table_text.columns_of(table_text.table_cells(text, 1), REQUIRED, OPTIONAL)
        cells = table_text.table_cells(text)
    except TableError as error:
        table.error(error.where, path.name, error.what, error.remedy)
        return table
    if "label" not in columns:
        what = f"column label is missing: has {', '.join(columns)}"
        table.error("row 1", path.name, what, "add it, with the path of each scan's label map")
    for name in unused:
        table.warning("row 1", "", f"column {name} is not used", f"known columns: {','.join(COLUMNS)}")
    for number, values in enumerate(cells.iloc[1:].to_numpy(), 2):
        row = {name: str(values[place]).strip() for name, place in columns.items()}
        if any(str(value).strip() for value in values):
            _take(row, number, table)
    if not table.scans and not table.findings:
        table.error("table", path.name, "the table has no rows", "write a row per scan beneath the header")
    return table


def _take(row: dict[str, str], number: int, table: ScanTable) -> None:
    """Add the scan of a row, or its faults."""
    case, num_findings = f"row {number}", len(table.findings)
    patient = row["patient"]
    if not patient:
        table.error(case, "", "no patient", "name the patient")
    elif problem := table_text.name_problem(patient):
        table.error(case, "", f"patient's {problem}", "give another one")
    modality = MODALITIES.get(row["modality"].lower())
    if modality is None:
        table.error(case, "", f"unknown modality {row['modality']!r}", "write ct or mr")
    role = next((role for role in ROLES if role == row.get("role", "").lower()), None)
    if row.get("role") and role is None:
        table.error(case, "", f"unknown role {row['role']!r}", f"write {', '.join(ROLES)}, or nothing")
    if not row["image"]:
        remedy = "give the path of the image, relative to the table's folder"
        table.error(case, "", "no image", remedy)
    files: dict[str, Path] = {}
    for kind in ("image", "label"):
        if text := row.get(kind):
            file = _inside(table.root, text)
            if isinstance(file, Path):
                files[kind] = file
            else:
                table.error(case, text, f"{kind} {file[0]}", file[1])
    if modality and len(table.findings) == num_findings:
        scan = Scan(
            scan_name(modality, patient), modality, files["image"], files.get("label"),
            patient=patient, role=role, row=number,
        )  # fmt: skip
        table.scans.append(scan)


def _inside(root: Path, text: str) -> Path | tuple[str, str]:
    """Return the file of a cell, links not followed, since their names tell the format; or a fault and its remedy."""
    path = Path(os.path.abspath(root / text))  # noqa: PTH100  # `..` without following links
    try:
        path.resolve()
        if not is_inside(path, root):
            remedy = "put the table in a folder above all its files; no links out of it"
            return "lies outside the table's folder", remedy
        if path.exists() and not (path.is_file() or path.is_dir()):
            return "is no regular file", "give a file, or a folder with one DICOM series"
        if not path.exists():
            hint = "; write / between folders" if "\\" in text else ""
            if path.is_symlink():
                return "is a link that leads nowhere", "fetch it: `dvc pull`, `git annex get`"
            return "not found", f"the path is relative to the table's folder{hint}"
    except (OSError, ValueError, RuntimeError) as error:
        return f"cannot be looked up ({error})", "correct the path"
    if format_of(path) is None:
        return "has no known format", f"give {', '.join(SUFFIXES)}, or a folder with one DICOM series"
    return path
