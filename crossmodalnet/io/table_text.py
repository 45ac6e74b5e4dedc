"""Read the text and cells of a user's CSV within bounds; errors name the row."""

import re
import unicodedata
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pandas as pd

from crossmodalnet.errors import did_you_mean
from crossmodalnet.imaging.dicom import is_dicom_file
from crossmodalnet.imaging.read import format_of

MAX_BYTES = 2**24
MAX_ROWS = 20_000
MAX_COLUMNS = 1000
MAX_NAME = 64
# Start of a spreadsheet formula; Excel ignores leading blanks.
_FORMULA = re.compile(r"\s*[=+\-@\t\r]")

MODALITY_WORD = re.compile(r"(?<![a-z])(?:cta?|mri?|cmr)(?![a-z])", re.IGNORECASE)
# Words before a number that tell nobody apart.
_GENERAL_WORDS = {"", "p", "pat", "patient", "s", "sub", "subj", "subject", "case", "id", "no", "nr"}


class TableError(Exception):
    """A fault that makes a whole table unreadable: `where` (`row N` or `table`), `what` and `remedy`."""

    def __init__(self, where: str, what: str, remedy: str) -> None:
        super().__init__(f"{where}: {what}: {remedy}")
        self.where, self.what, self.remedy = where, what, remedy


def read_table_text(path: Path, columns: Sequence[str]) -> str:
    """Read a table as UTF-8 text; TableError if it is missing, too large, unreadable, empty or binary."""
    listed = ",".join(columns)
    remedy = f"give a CSV with the columns {listed}"
    if not path.is_file():  # a pipe would be waited for
        raise TableError("table", "is no regular file" if path.exists() else "not found", remedy)
    if (size := path.stat().st_size) > MAX_BYTES:
        raise TableError("table", f"{size} bytes, at most {MAX_BYTES} are read", remedy)
    if format_of(path) or is_dicom_file(path):
        raise TableError("table", "is an image, not a table", remedy)
    try:
        raw = path.read_bytes()
        if raw.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
            raise TableError("table", "is an Excel file or an archive", "save the table as CSV UTF-8")
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise TableError("table", f"cannot be read ({error.strerror})", "look at its permissions") from error
    except UnicodeDecodeError as error:
        row = raw[: error.start].count(b"\n") + 1
        what = f"not UTF-8: byte 0x{raw[error.start]:02x} in line {row}"
        raise TableError(f"row {row}", what, "save the table as CSV UTF-8") from error
    if "\0" in text:
        row = text[: text.index("\0")].count("\n") + 1
        raise TableError(f"row {row}", f"zero byte in line {row}: no text", "save the table as CSV UTF-8")
    if text.partition("\n")[0].count(",") >= MAX_COLUMNS:
        raise TableError("row 1", f"more than {MAX_COLUMNS} columns", f"known columns: {listed}")
    if not text.strip():
        raise TableError("table", "the table is empty", f"begin it with the header {listed}")
    return text


def table_cells(text: str, num_rows: int = MAX_ROWS + 2) -> pd.DataFrame:
    """Parse the first rows to text cells, header first; TableError for no commas or too many rows."""
    header = text.lstrip().partition("\n")[0]
    separator = next((sign for sign in ";\t|" if sign in header), None)
    if separator and "," not in header:
        shown = "tabs" if separator == "\t" else repr(separator)
        what = f"columns are separated by {shown}, not by commas"
        raise TableError("row 1", what, "save the table with commas")
    try:
        cells = pd.read_csv(
            StringIO(text), header=None, dtype=str, na_filter=False, skip_blank_lines=False, nrows=num_rows
        )
    except ValueError as error:  # pandas' own errors are of this kind
        counts = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        remedy = "give every row as many fields as the header; a comma within a field needs quotes around it"
        place, what = "table", "not a CSV with commas: a quote is not closed?"
        if counts:
            place, what = f"row {counts[2]}", f"has {counts[3]} fields, the header {counts[1]}"
        raise TableError(place, what, remedy) from error
    if len(cells) > MAX_ROWS + 1:
        raise TableError("table", f"more than {MAX_ROWS} rows", "give a table with a row per scan")
    return cells.fillna("")


def columns_of(
    cells: pd.DataFrame, required: Sequence[str], optional: Sequence[str]
) -> tuple[dict[str, int], list[str]]:
    """Locate each column by the header, in any order and case; return the names of unused columns too.

    TableError if a required column is missing, one is there twice, or an unknown name is close to a missing one.
    """
    header = [str(name).strip().lower() for name in cells.iloc[0]]
    known = (*required, *optional)
    if missing := [name for name in required if name not in header]:
        names = ", ".join(filter(None, header)) or "no names"
        what = f"column {', '.join(missing)} is missing: has {names[:MAX_NAME]}"
        hints = [did_you_mean(name, set(header) - {*known}, f"rename {{}} to {name}; ") for name in missing]
        raise TableError("row 1", what, f"{''.join(hints)}begin the table (CSV) with the header {','.join(known)}")
    if twice := [name for name in sorted(known) if header.count(name) > 1]:
        raise TableError("row 1", f"column {', '.join(twice)} twice", "keep one of the two")
    absent = [name for name in optional if name not in header]
    unused = [name for name in header if name and name not in known]
    for name in unused:
        # A typo in `label` would make the scans unlabelled.
        words = [word for word in absent if word in re.split(r"[^a-z]+", name)]
        if hint := did_you_mean(words[0] if words else name, absent):
            raise TableError("row 1", f"unknown column {name}", f"{hint}Rename it, or take it out")
    return {name: header.index(name) for name in known if name in header}, unused


def file_name_of(patient: str) -> str:
    """Convert a patient's name to characters for file names: ASCII letters, digits, `.`, `_` and `-`."""
    plain = unicodedata.normalize("NFKD", patient)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.")


def name_problem(patient: str) -> str | None:
    """Return the reason to reject a patient's name (no letters, too long, a formula); None if valid."""
    if not file_name_of(patient):
        return f"name {patient!r} has no letter or digit"
    if len(patient) > MAX_NAME:
        return f"name has {len(patient)} signs, at most {MAX_NAME}"
    if _FORMULA.match(patient):
        return f"name {patient!r} begins with a sign that makes spreadsheets compute it"
    if not patient.isprintable():
        return f"name {patient!r} has signs that cannot be printed"
    return None


def alike_names(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pair each name that may be an earlier one's person (001 and 1, P01 and p1) with the first such name."""
    keys = [(name, *spelling_keys(name)) for name in names]
    # A bare number may be any prefix's.
    bare = {number for _, key, number in keys if key == number and number}
    firsts: dict[str, str] = {}
    pairs = [(firsts.setdefault(number if number in bare else key, name), name) for name, key, number in keys]
    return [(first, name) for first, name in pairs if first != name]


def spelling_keys(patient: str) -> tuple[str, str]:
    """Return what tells a patient from others, without case, accents, order, zeros or signs; and its numbers."""
    text = MODALITY_WORD.sub(" ", re.sub(r"^(\d+)\.0+$", r"\1", patient.strip()))
    parts = re.findall(r"[a-z]+|\d+", file_name_of(text).lower())
    numbers = [part.lstrip("0") or "0" for part in parts if part.isdecimal()]
    words = [part for part in parts if not part.isdecimal() and not (numbers and part in _GENERAL_WORDS)]
    return " ".join([*numbers, *sorted(words)]) or patient, " ".join(numbers)
