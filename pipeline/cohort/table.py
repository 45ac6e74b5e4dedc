"""Read a cohort from a CSV: one row per scan."""

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import pandas as pd

from crossmodalnet.imaging.codes import LabelCodes
from crossmodalnet.imaging.read import SUFFIXES, format_of
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.io.table_text import TableError, file_name_of, name_problem, read_table_text, table_cells
from pipeline.cohort.integrity import CohortFinding
from pipeline.cohort.pairs import Role


@dataclass(frozen=True)
class ScanRow:
    """One scan.

    Attributes:
        row: number of its row in the user's table, the header being row 1; None where there is no table.
        patient: patient as the user names him or her.
        modality: CT or MR.
        image: file, or folder of DICOM.
        label: label map; None where there is none.
        role: role that the user wants; None where the split decides.
        needs_label: whether the scan is one to train on, so that its label map must be there.
    """

    row: int | None
    patient: str
    modality: Modality
    image: Path
    label: Path | None
    role: Role | None
    needs_label: bool = False

    @property
    def name(self) -> str:
        """Name of the subject, for instance `ct_P03`: modality, and the patient in letters that files may have."""
        return f"{self.modality.value}_{file_name_of(self.patient)}"

    @property
    def title(self) -> str:
        """Name of the scan in findings."""
        return self.name if self.row is None else f"row {self.row} ({self.name})"


@dataclass
class ScanTable:
    """What was read of a table or of a folder, before any image is opened.

    Attributes:
        root: folder that all files lie in, resolved.
        rows: scans that can be looked at.
        findings: rows that cannot, and whatever else is wrong.
        codes: meaning of label values that the data set itself tells; None where it does not.
    """

    root: Path
    rows: list[ScanRow] = field(default_factory=list)
    findings: list[CohortFinding] = field(default_factory=list)
    codes: LabelCodes | None = None

    def known_as(self, path: Path) -> str:
        """Path of a file as the user knows it: below the folder."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


def real_path(path: Path) -> Path | None:
    """Follow all links; None where they go in a circle or cannot be followed."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return None


def consistency_findings(table: ScanTable) -> list[CohortFinding]:
    """List what contradicts itself among the rows: files, patients and roles.

    One label map may serve several scans of one patient, which lie on one grid then; every other file is one scan's.
    """
    found: list[CohortFinding] = []
    scans: dict[tuple[str, Modality], ScanRow] = {}
    roles: dict[str, ScanRow] = {}
    spelled: dict[str, ScanRow] = {}
    files: dict[Path, tuple[ScanRow, str]] = {}

    def add(row: ScanRow, file: Path | None, what: str, remedy: str) -> None:
        found.append(CohortFinding("error", row.title, table.known_as(file) if file else "", what, remedy))

    for row in table.rows:
        first = scans.setdefault((row.patient, row.modality), row)
        if first is not row:
            what = f"{row.modality.value.upper()} of patient {row.patient} a second time, after {first.title}"
            add(row, row.image, what, "keep one scan per patient and modality")
        first = roles.setdefault(row.patient, row) if row.role else row
        if first.role != row.role:
            what = f"patient {row.patient} is {row.role} here and {first.role} in {first.title}"
            add(row, None, what, "give all scans of a patient one role")
        first = spelled.setdefault(file_name_of(row.patient).lower(), row)
        if first.patient != row.patient:
            what = f"patients {first.patient!r} and {row.patient!r} would have files of one name"
            add(row, None, what, "rename one of them")
        for file, use in ((row.image, "image"), (row.label, "label map")):
            if file is None:
                continue
            other, before = files.setdefault(file.resolve(), (row, use))
            if (other is not row or before != use) and not (
                use == before == "label map" and other.patient == row.patient
            ):
                what = f"the same file as the {before} of {other.title}"
                add(row, file, what, "name each file once")
        if row.role and row.label is None:
            add(
                row,
                row.image,
                f"role {row.role} without label map",
                "add the label map, or leave the role empty",
            )
    return [*found, *_role_findings(table)]


def _role_findings(table: ScanTable) -> list[CohortFinding]:
    given = {row.role for row in table.rows if row.role}
    if not given or "test" in given:
        return []
    what = f"roles are given ({', '.join(sorted(given))}), but no patient has the role test"
    remedy = "give some patients the role test, or leave all roles empty for the split to decide"
    return [CohortFinding("error", "table", "", what, remedy)]


REQUIRED, OPTIONAL = ("patient", "modality", "image"), ("label", "role")
MODALITIES = {
    "ct": Modality.CT,
    "cta": Modality.CT,
    "mr": Modality.MR,
    "mri": Modality.MR,
    "cmr": Modality.MR,
}
ROLES: tuple[Role, ...] = get_args(Role)


def read_table_file(path: Path) -> ScanTable:
    """Read a CSV with the columns patient, modality and image, and if it has them label and role.

    Paths are relative to the folder of the table, and nothing outside it is read, links included. No image is opened.
    """
    table = ScanTable(path.resolve().parent)
    try:
        text = read_table_text(path, REQUIRED + OPTIONAL)
        # The header by itself first: of rows that do not fit it, it is the one that is wrong.
        columns = _columns(table_cells(text, 1), table)
        cells = table_cells(text)
    except TableError as error:
        table.findings.append(CohortFinding("error", error.where, path.name, error.what, error.remedy))
        return table
    for number, values in enumerate(cells.iloc[1:].to_numpy(), 2):
        row = {name: str(values[place]).strip() for name, place in columns.items()}
        if any(str(value).strip() for value in values):
            _take(row, number, table)
    if not table.rows and not table.findings:
        remedy = "write a row per scan beneath the header"
        table.findings.append(CohortFinding("error", "table", path.name, "the table has no rows", remedy))
    return table


def _columns(cells: pd.DataFrame, table: ScanTable) -> dict[str, int]:
    """Find the place of each column by the header, in any order and case."""
    header = [str(name).strip().lower() for name in cells.iloc[0]]
    wanted = ",".join(REQUIRED + OPTIONAL)
    if missing := [name for name in REQUIRED if name not in header]:
        what = (
            f"no column {', '.join(missing)}; the header has {', '.join(filter(None, header)) or 'no names'}"
        )
        raise TableError("row 1", what, f"begin the table with the header {wanted}")
    if twice := sorted({name for name in header if name in wanted.split(",") and header.count(name) > 1}):
        raise TableError("row 1", f"column {', '.join(twice)} twice", "keep one of the two")
    for name in filter(None, header):
        if name in REQUIRED + OPTIONAL:
            continue
        lacking = [column for column in OPTIONAL if column not in header]
        # A label that is not seen for a slip of the pen would make its scan an unlabelled one.
        if close := difflib.get_close_matches(name, lacking, n=1, cutoff=0.6):
            raise TableError(
                "row 1", f"unknown column {name}", f"did you mean {close[0]}? Rename it, or take it out"
            )
        what, remedy = f"column {name} is not used", f"known columns: {wanted}"
        table.findings.append(CohortFinding("warning", "row 1", "", what, remedy))
    return {name: header.index(name) for name in REQUIRED + OPTIONAL if name in header}


def _take(row: dict[str, str], number: int, table: ScanTable) -> None:
    """Add a row to the table, or all that is wrong with it to the findings."""
    wrong: list[tuple[str, str, str]] = []
    patient = row["patient"]
    if not patient:
        wrong.append(("", "no patient", "name the patient"))
    elif problem := name_problem(patient):
        wrong.append(("", f"patient's {problem}", "give another one"))
    modality = MODALITIES.get(row["modality"].lower())
    if modality is None:
        wrong.append(("", f"unknown modality {row['modality']!r}", "write ct or mr"))
    role = next((role for role in ROLES if role == row.get("role", "").lower()), None)
    if row.get("role") and role is None:
        wrong.append(("", f"unknown role {row['role']!r}", f"write {', '.join(ROLES)}, or nothing"))
    files: dict[str, Path] = {}
    for kind in ("image", "label"):
        text = row.get(kind, "")
        if text:
            found = _inside(table.root, text)
            if isinstance(found, Path):
                files[kind] = found
            else:
                wrong.append((text, f"{kind} {found[0]}", found[1]))
        elif kind == "image":
            wrong.append(("", "no image", "give the path of the image, relative to the table's folder"))
    case = f"row {number}"
    table.findings += [CohortFinding("error", case, file, what, remedy) for file, what, remedy in wrong]
    if not wrong and modality:
        table.rows.append(ScanRow(number, patient, modality, files["image"], files.get("label"), role))


def _inside(root: Path, text: str) -> Path | tuple[str, str]:
    """Give the file that a cell names, or what is wrong with it and what to do."""
    path = root / text
    try:
        real = path.resolve()
        if not real.is_relative_to(root) or real == root:
            return (
                "lies outside the table's folder",
                "put the table in a folder above all its files; no links out of it",
            )
        if path.exists() and not (real.is_file() or real.is_dir()):
            return "is no regular file", "give a file, or a folder with one DICOM series"
        if not path.exists():
            hint = "; write / between folders" if "\\" in text else ""
            return "not found", f"the path is relative to the table's folder{hint}"
    except (OSError, ValueError, RuntimeError) as error:
        return f"cannot be looked up ({error})", "correct the path"
    if format_of(real) is None:
        return "has no known format", f"give {', '.join(SUFFIXES)}, or a folder with one DICOM series"
    # Without `..` or links in between, so that messages and checks speak of one place.
    return real
