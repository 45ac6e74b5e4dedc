"""A cohort as a list of scans, each with its patient: what a table and an nnU-Net folder have in common."""

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from crossmodalnet.imaging.codes import LabelCodes
from crossmodalnet.imaging.structures import Modality
from pipeline.cohort.findings import CohortFinding
from pipeline.cohort.pairs import Role

MAX_NAME = 64


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


def file_name_of(patient: str) -> str:
    """Spell a patient's name so that it can be part of a file's name: letters of ASCII, digits, `.`, `_` and `-`.

    >>> file_name_of("Müller, A. (2)")
    'Muller-A.-2'
    """
    plain = unicodedata.normalize("NFKD", patient)
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.")


# A spreadsheet computes a cell that begins so; Excel drops blanks before it looks.
_FORMULA = re.compile(r"\s*[=+\-@\t\r]")


def name_problem(patient: str) -> str | None:
    """Say what is wrong with a patient's name: no letters, too long, or one that a spreadsheet would compute.

    >>> name_problem("=1+1")
    "name '=1+1' begins with a sign that makes spreadsheets compute it"
    """
    if not file_name_of(patient):
        return f"name {patient!r} has no letter or digit"
    if len(patient) > MAX_NAME:
        return f"name has {len(patient)} signs, at most {MAX_NAME}"
    if _FORMULA.match(patient):
        return f"name {patient!r} begins with a sign that makes spreadsheets compute it"
    if not patient.isprintable():
        return f"name {patient!r} has signs that cannot be printed"
    return None


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
