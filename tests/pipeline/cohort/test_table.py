from collections.abc import Callable
from pathlib import Path

import pytest

from crossmodalnet.imaging.structures import Modality
from crossmodalnet.io.table_text import file_name_of
from pipeline.cohort.table import ScanTable, check_consistency, read_table_file

HEADER = "patient,modality,image,label,role"
Read = Callable[..., ScanTable]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a table beside empty files and read it; consistency is looked at too."""
    (tmp_path / "data" / "dicom").mkdir(parents=True)
    for name in ("a.nii.gz", "b.nrrd", "a_seg.nii.gz", "b_seg.nii.gz", "c.nii.gz", "notes.txt"):
        (tmp_path / "data" / name).touch()
    (tmp_path / "outside.nii.gz").touch()
    (tmp_path / "data" / "link.nii.gz").symlink_to(tmp_path / "outside.nii.gz")

    def of(*lines: str, header: str = HEADER, encoding: str = "utf-8") -> ScanTable:
        path = tmp_path / "data" / "table.csv"
        path.write_bytes("\n".join([header, *lines, ""]).encode(encoding))
        table = read_table_file(path)
        check_consistency(table)
        return table

    return of


def errors(table: ScanTable) -> list[tuple[str, str, str]]:
    return [(f.case, f.file, f.what) for f in table.findings if f.severity == "error"]


def test_rows_become_scans(read: Read, tmp_path: Path) -> None:
    table = read('"Müller, A.",CT,a.nii.gz,a_seg.nii.gz,test', "P2 , mri,./b.nrrd,,", "P3,ct,dicom,,")
    assert table.findings == []
    first, second, third = table.scans
    assert (first.row, first.patient, first.name, first.role) == (2, "Müller, A.", "ct_Muller-A", "test")
    assert (second.patient, second.modality, second.label, second.role) == ("P2", Modality.MR, None, None)
    assert second.image == tmp_path / "data" / "b.nrrd"
    assert third.image == tmp_path / "data" / "dicom"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_columns_in_any_order_and_case_with_a_bom(read: Read, encoding: str) -> None:
    table = read("a.nii.gz,,P1,ct", header="Image,LABEL,PATIENT,Modality ", encoding=encoding)
    assert table.findings == []
    assert [(row.patient, row.image.name) for row in table.scans] == [("P1", "a.nii.gz")]


def test_empty_lines_keep_row_numbers(read: Read) -> None:
    table = read("P1,ct,a.nii.gz,,", "", ",,,,", "P2,ct,b.nrrd,,")
    assert [row.row for row in table.scans] == [2, 5]


HEADERS = {
    "missing column": ("patient,modalty,image,label", "column modality is missing: has patient, modalty, image"),
    "semicolons": (HEADER.replace(",", ";"), "columns are separated by ';', not by commas"),
    "twice": ("patient,modality,image,label,label", "column label twice"),
    "slip of the pen": ("patient,modality,image,lable,role", "unknown column lable"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_invalid_header_is_refused(read: Read, name: str) -> None:
    header, what = HEADERS[name]
    [(case, file, found)] = errors(read("P1,ct,a.nii.gz,a_seg.nii.gz,", header=header))
    assert (case, file) == ("row 1", "table.csv")
    assert what in found


def test_unknown_column_warns(read: Read) -> None:
    table = read("P1,ct,a.nii.gz,71", header="patient,modality,image,age")
    found = [("error", "column label is missing: has patient, modality, image"), ("warning", "column age is not used")]
    assert [(f.severity, f.what) for f in table.findings] == found
    assert len(table.scans) == 1


@pytest.mark.parametrize(
    ("content", "case", "what"),
    [
        (b"", "table", "the table is empty"),
        (HEADER.encode() + b"\n", "table", "the table has no rows"),
        (HEADER.encode() + b"\nP1,ct,a.nii.gz,,\nM\xfcller,ct,b.nrrd,,\n", "row 3", "not UTF-8: byte 0xfc in line 3"),
        (b"PK\x03\x04", "table", "is an Excel file"),
        (HEADER.encode("utf-16"), "row 1", "not UTF-8: byte 0xff in line 1"),
        (HEADER.encode() + b"\nP1,ct,a\0.nii,,", "row 2", "zero byte in line 2"),
        (HEADER.encode() + b"\nP1,ct,a.nii.gz,,,,,\n", "row 2", "has 8 fields, the header 5"),
        (b"x" * (2**24 + 1), "table", "16777217 bytes, at most 16777216 are read"),
        (HEADER.encode() + b"\n" + b"P1,ct,a.nii.gz,,\n" * 20_001, "table", "more than 20000 rows"),
    ],
)  # fmt: skip
def test_invalid_file_is_refused(read: Read, tmp_path: Path, content: bytes, case: str, what: str) -> None:
    (tmp_path / "data" / "table.csv").write_bytes(content)
    table = read_table_file(tmp_path / "data" / "table.csv")
    [(found_case, _, found)] = errors(table)
    assert found_case == case
    assert what in found
    assert table.scans == []


ROWS: dict[str, tuple[str, str, str]] = {
    "no patient": (",ct,b.nrrd,,", "", "no patient"),
    "no letters": ("...,ct,b.nrrd,,", "", "patient's name '...' has no letter or digit"),
    "long name": ("x" * 65 + ",ct,b.nrrd,,", "", "patient's name has 65 signs, at most 64"),
    "modality": ("P2,pet,b.nrrd,,", "", "unknown modality 'pet'"),
    "role": ("P2,ct,b.nrrd,b_seg.nii.gz,testing", "", "unknown role 'testing'"),
    "no image": ("P2,ct,,b_seg.nii.gz,", "", "no image"),
    "image missing": ("P2,ct,lacks.nii.gz,,", "lacks.nii.gz", "image not found"),
    "label missing": ("P2,ct,b.nrrd,lacks.nii.gz,", "lacks.nii.gz", "label not found"),
    "outside": ("P2,ct,../outside.nii.gz,,", "../outside.nii.gz", "image lies outside the table's folder"),
    "absolute": ("P2,ct,/etc/passwd,,", "/etc/passwd", "image lies outside the table's folder"),
    "link": ("P2,ct,link.nii.gz,,", "link.nii.gz", "image lies outside the table's folder"),
    "itself": ("P2,ct,.,,", ".", "image lies outside the table's folder"),
    "format": ("P2,ct,notes.txt,,", "notes.txt", "image has no known format"),
    "long path": ("P2,ct," + "x" * 5000 + ",,", "x" * 5000, "image cannot be looked up"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_invalid_row_is_reported(read: Read, name: str) -> None:
    line, file, what = ROWS[name]
    [(case, found_file, found)] = errors(read("P1,ct,a.nii.gz,,", line))
    assert (case, found_file) == ("row 3", file)
    assert what in found


SETS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "scan twice": (("P1,ct,a.nii.gz,,", "P1,ct,b.nrrd,,"), "row 3 (ct_P1)", "CT of patient P1 a second time"),
    "file twice": (("P1,ct,a.nii.gz,,", "P2,ct,./a.nii.gz,,"), "row 3 (ct_P2)", "the same file as the image of row 2"),
    "image as label": (("P1,ct,a.nii.gz,a.nii.gz,",), "row 2 (ct_P1)", "the same file as the image of row 2"),
    "label of two": (
        ("P1,ct,a.nii.gz,a_seg.nii.gz,", "P2,ct,b.nrrd,a_seg.nii.gz,"), "row 3 (ct_P2)", "the same file as the label",
    ),
    "two roles": (
        ("P1,ct,a.nii.gz,a_seg.nii.gz,train", "P1,mr,b.nrrd,b_seg.nii.gz,test"), "row 3 (mr_P1)",
        "patient P1 is test here and train in row 2 (ct_P1)",
    ),
    "names": (("P 1,ct,a.nii.gz,,", "p-1,mr,b.nrrd,,"), "row 3 (mr_p-1)", "patients 'P 1' and 'p-1' would have files"),
    "role, no label": (("P1,ct,a.nii.gz,,test",), "row 2 (ct_P1)", "role test without label map"),
    "no test": (("P1,ct,a.nii.gz,a_seg.nii.gz,train",), "table", "no patient has the role test"),
    "test only": (("P1,ct,a.nii.gz,a_seg.nii.gz,test",), "table", "all rows have the role test"),
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_contradicting_rows_are_reported(read: Read, name: str) -> None:
    lines, case, what = SETS[name]
    [(found_case, _, found)] = errors(read(*lines))
    assert found_case == case
    assert what in found


@pytest.mark.parametrize(
    ("one", "other", "severity"),
    [
        ("001", "1", "error"), ("P01", "1", "error"), ("1", "1.0", "error"), ("sub-07", "Patient 7", "error"),
        ("Smith^John", "John Smith", "error"), ("P1_ct", "P1_mr", "warning"), ("A1", "B1", ""), ("P1", "P11", ""),
        ("2024-1", "2024-10", ""), ("Berta", "Bertha", "warning"), ("Meyer A", "Meier A", "warning"),
        ("Anna B", "Anne B", ""), ("Rolf1", "Rolf2", ""), ("Ida", "Isa", ""), ("Smith2a", "Smith3a", ""),
    ],
)  # fmt: skip
def test_two_spellings_of_one_patient_are_asked_about(read: Read, one: str, other: str, severity: str) -> None:
    table = read(f"{one},ct,a.nii.gz,,", f"{other},mr,b.nrrd,,", "X5,ct,c.nii.gz,,")
    found = [(f.severity, f.what[: len(f"patients {one!r} and {other!r}")]) for f in table.findings]
    assert found == ([(severity, f"patients {one!r} and {other!r}")] if severity else [])
    both_ct = read(f"{one},ct,a.nii.gz,,", f"{other},ct,b.nrrd,,")
    assert not [f for f in both_ct.findings if "letter" in f.what]


@pytest.mark.parametrize(
    ("key", "is_taken"),
    [(f"cache/files/md5/ab/{'0' * 30}", True), (".git/annex/objects/a/b/SHA256-s1--0", True), ("private/key", False)],
)
def test_links_into_stores_are_files_of_their_own_names(read: Read, tmp_path: Path, key: str, is_taken: bool) -> None:
    (tmp_path / key).parent.mkdir(parents=True)
    (tmp_path / key).touch()
    (tmp_path / "data" / "stored.nii.gz").symlink_to(tmp_path / key)
    assert bool(errors(read("P1,ct,stored.nii.gz,,"))) != is_taken


def test_label_map_and_role_may_serve_both_scans_of_a_patient(read: Read) -> None:
    assert errors(read("P1,ct,a.nii.gz,a_seg.nii.gz,test", "P1,mr,b.nrrd,a_seg.nii.gz,")) == []


NAMES = {"P-1_a.b": "P-1_a.b", "Ærø 7": "r-7", "../../etc": "etc", "a/b\\c": "a-b-c", "患者": "", ".": ""}


@pytest.mark.parametrize("patient", NAMES)
def test_file_names_of_patients(patient: str) -> None:
    assert file_name_of(patient) == NAMES[patient]
