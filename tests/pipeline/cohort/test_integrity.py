import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.inspect import Finding, Severity
from pipeline.cohort import integrity
from pipeline.cohort.integrity import check_scans, require_sound, table
from pipeline.cohort.mmwhs import scans_in, subjects_of
from tests.pipeline.cohort.conftest import CODES, write_case


@pytest.fixture
def folder(cohort: Path, tmp_path: Path) -> Path:
    """All files of the cohort in one folder."""
    (tmp_path / "raw").mkdir()
    for path in cohort.rglob("*.nii.gz"):
        path.rename(tmp_path / "raw" / path.name)
    return tmp_path / "raw"


def found(folder: Path, *, needs_labels: bool = True) -> list[tuple[str, str, str, str]]:
    findings, _ = check_scans(scans_in(folder), lambda path: path.name, needs_labels=needs_labels)
    return [(f.severity, f.case, f.file, f.what) for f in findings]


def test_sound_cohort(folder: Path) -> None:
    assert found(folder) == []
    assert [scan.name for scan in scans_in(folder)][:4] == ["ct_2001", "ct_1001", "ct_1002", "ct_1003"]
    without_label = [subject.name for subject in subjects_of(scans_in(folder)) if subject.label is None]
    assert without_label == ["ct_2001", "mr_2001"]


def test_labels_are_optional_without_needs_labels(folder: Path) -> None:
    for path in folder.glob("*_label.nii.gz"):
        path.unlink()
    assert {what for *_, what in found(folder)} >= {"training image without label map"}
    assert found(folder, needs_labels=False) == []


def test_subject_in_training_and_test_is_an_error(folder: Path) -> None:
    write_case(folder, "mr_test_1002", 4, ("image",))
    what = "duplicate subject mr_1002: both a training and a test case"
    assert found(folder) == [("error", "mr_1002", "", what)]


def test_unequal_numbers_of_cases_warn(folder: Path) -> None:
    write_case(folder, "ct_train_1004", 4)
    what = "modality count mismatch: 4 labelled CT, 3 labelled MR subjects"
    assert found(folder) == [("warning", "all", "", what)]


def test_worker_processes_give_the_same_findings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, data in ((1001, 0 * CODES), (1002, CODES[:-1]), (1003, CODES + 1)):
        nib.save(nib.Nifti1Image(data, np.eye(4)), folder / f"ct_train_{number}_label.nii.gz")
    expected = found(folder)
    assert len(expected) >= 4
    monkeypatch.setattr(integrity, "SEQUENTIAL_BYTES", 0)
    assert sorted(found(folder)) == sorted(expected)


def finding(severity: Severity, case: str, what: str = "what") -> Finding:
    return Finding(severity, what, "remedy", case, "[file]")


def test_warnings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        require_sound([finding("warning", "ct_1")])
        require_sound([])
    assert "0 errors, 1 warning" in caplog.text
    assert "[file]" in caplog.text


def test_errors_raise_with_all_findings() -> None:
    findings = [finding("error", "mr_2"), finding("warning", "ct_1"), finding("error", "ct_3", "x" * 300)]
    with pytest.raises(DataError, match=r"2 errors, 1 warning") as caught:
        require_sound(findings)
    assert caught.value.exit_code == 3
    lines = str(caught.value).splitlines()
    assert lines[1::2] == [
        f"error ct_3, [file]: {'x' * 300}", "error mr_2, [file]: what", "warning ct_1, [file]: what",
    ]  # fmt: skip


def test_repeated_findings_are_one_row_and_causes_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = [Finding("error", f"unknown codes {n}, 7", "set data.labels", f"row {n}", f"{n}.nii") for n in range(2, 18)]
    rows += [Finding("error", f"copy of {n}", "keep one", n, kind=f"copy of {n}") for n in ("ct_1", "mr_1")]
    follows = Finding("error", "AO in no label map", "set data.missing", "all")
    cause = Finding("warning", "label 'heart' is none of our structures", "name it", "table", "dataset.json")
    lines = table([follows, *rows, cause, finding("warning", "ct_3", "word " * 40)]).splitlines()
    assert lines[:2] == ["error x16 row 2, 2.nii: unknown codes 2, 7", "    -> set data.labels"]
    assert "and 7 more" in lines[2]
    assert [line.split(":")[0] for line in lines if line[0] != " "][1:] == [
        "error ct_1", "error mr_1", "error all", "warning table, dataset.json", "warning ct_3, [file]",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines).split()).count("word") == 40
