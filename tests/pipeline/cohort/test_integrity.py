import logging
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.inspect import Finding, Severity
from pipeline.cohort import integrity
from pipeline.cohort.integrity import check_scans, require_sound, table
from pipeline.cohort.mmwhs import scans_in, subjects_of

CODES = np.resize(np.array([0, 500, 600, 420, 550, 205, 820, 850], np.int16), (6, 5, 4))


def write(path: Path, seed: int) -> None:
    data = np.random.default_rng(seed).integers(0, 999, CODES.shape, dtype=np.int16)
    data = 2 * data - 999 if path.name.startswith("ct") else data
    nib.save(nib.Nifti1Image(CODES if "label" in path.name else data, np.eye(4)), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, modality in enumerate(("ct", "mr")):
        for number in (1001, 1002, 1003):
            write(tmp_path / f"{modality}_train_{number}_image.nii.gz", 10000 * seed + number)
            write(tmp_path / f"{modality}_train_{number}_label.nii.gz", 0)
        write(tmp_path / f"{modality}_test_2001_image.nii.gz", 10000 * seed + 2001)
    return tmp_path


def check(folder: Path, *, needs_labels: bool = True) -> list[Finding]:
    return check_scans(scans_in(folder), lambda path: path.name, needs_labels=needs_labels)[0]


def found(folder: Path) -> list[tuple[str, str, str, str]]:
    return [(f.severity, f.case, f.file, f.what) for f in check(folder)]


def test_sound_cohort(folder: Path) -> None:
    assert found(folder) == []
    assert [scan.name for scan in scans_in(folder)][:4] == ["ct_2001", "ct_1001", "ct_1002", "ct_1003"]
    labelled = {subject.name: subject.label is not None for subject in subjects_of(scans_in(folder))}
    assert labelled["mr_1003"] is True
    assert labelled["mr_2001"] is False


def test_training_image_without_label(folder: Path) -> None:
    write(folder / "ct_train_1004_image.nii.gz", 4)
    assert found(folder) == [
        ("error", "ct_1004", "ct_train_1004_image.nii.gz", "training image without label map")
    ]


def test_labels_are_optional_without_needs_labels(folder: Path) -> None:
    for path in folder.glob("*_label.nii.gz"):
        path.unlink()
    assert {f.what for f in check(folder)} >= {"training image without label map"}
    assert check(folder, needs_labels=False) == []


def test_label_without_image(folder: Path) -> None:
    write(folder / "ct_train_1004_label.nii.gz", 4)
    assert found(folder) == [("error", "ct_1004", "ct_train_1004_label.nii.gz", "label map without image")]


def test_subject_in_training_and_test_is_an_error(folder: Path) -> None:
    write(folder / "mr_test_1002_image.nii.gz", 4)
    assert found(folder) == [
        ("error", "mr_1002", "", "duplicate subject mr_1002: both a training and a test case")
    ]


def test_same_voxels_under_two_names_are_an_error(folder: Path) -> None:
    (folder / "ct_test_2002_image.nii.gz").write_bytes((folder / "ct_train_1002_image.nii.gz").read_bytes())
    what = "duplicate subject: the same voxels as the image of ct_1002"
    assert found(folder) == [("error", "ct_2002", "ct_test_2002_image.nii.gz", what)]


def test_unequal_numbers_of_cases_warn(folder: Path) -> None:
    for kind in ("image", "label"):
        write(folder / f"ct_train_1004_{kind}.nii.gz", 4)
    what = "modality count mismatch: 4 labelled CT, 3 labelled MR subjects"
    assert found(folder) == [("warning", "all", "", what)]


def test_too_few_cases_are_an_error(folder: Path) -> None:
    for kind in ("image", "label"):
        (folder / f"mr_train_1003_{kind}.nii.gz").unlink()
    what = "modality count mismatch: 3 labelled CT, 2 labelled MR subjects"
    assert found(folder) == [("error", "all", "", what)]


def test_label_on_another_grid_is_an_error(folder: Path) -> None:
    path = folder / "mr_train_1001_label.nii.gz"
    nib.save(nib.Nifti1Image(CODES, np.diag([1, 1, 1.5, 1])), path)
    what = "label map and image lie on different grids: affines differ by up to 1.50 mm"
    assert found(folder) == [("error", "mr_1001", path.name, what)]


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
    assert "0 error(s), 1 warning(s)" in caplog.text
    assert "[file]" in caplog.text


def test_errors_raise_with_all_findings() -> None:
    with pytest.raises(DataError, match=r"2 error\(s\), 1 warning\(s\)") as caught:
        require_sound(
            [finding("error", "mr_2"), finding("warning", "ct_1"), finding("error", "ct_3", "x" * 300)]
        )
    assert caught.value.exit_code == 3
    lines = str(caught.value).splitlines()
    assert [line.split()[1] for line in lines[3:6]] == ["ct_3", "mr_2", "ct_1"]
    assert "x" * 300 in lines[3]


def test_narrow_terminal_folds_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    width: Callable[[], bool] = lambda: True  # noqa: E731
    monkeypatch.setattr("crossmodalnet.io.console.is_terminal", width)
    monkeypatch.setenv("COLUMNS", "60")
    text = table([finding("error", "ct_3", "y" * 100)])
    assert max(len(line) for line in text.splitlines()) <= 60
    assert text.count("y") - "severity".count("y") - "remedy".count("y") * 2 == 100
