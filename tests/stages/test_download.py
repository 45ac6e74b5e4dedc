from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.codes import MMWHS
from pipeline.cohort.pairs import read_manifest
from stages.download import main

CODES = np.resize(np.array([0, 500, 600, 420, 550, 205, 820, 850], np.int16), (6, 5, 4))
RAW = Path("data/raw")


def save(path: Path, data: np.ndarray[Any, Any], affine: Any = None) -> None:
    nib.save(nib.Nifti1Image(data, np.eye(4) if affine is None else affine), path)


@pytest.fixture
def cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cohort, and a project whose params.yaml names it."""
    folder = tmp_path / "cohort"
    folder.mkdir()
    random = np.random.default_rng(0)
    for modality in ("ct", "mr"):
        for number in range(1001, 1005):
            image = random.integers(-999, 99, CODES.shape, dtype=np.int16)
            image = image if modality == "ct" else image + 999
            save(folder / f"{modality}_train_{number}_image.nii.gz", image)
            save(folder / f"{modality}_train_{number}_label.nii.gz", CODES)
    (tmp_path / "params.yaml").write_text(f"data:\n  source: mmwhs\n  path: {folder}\n")
    monkeypatch.chdir(tmp_path)
    return folder


def test_cohort_and_manifest(cohort: Path) -> None:
    main()
    subjects = read_manifest(RAW / "manifest.csv")
    assert [s.name for s in subjects] == [f"{m}_{n}" for m in ("ct", "mr") for n in range(1001, 1005)]
    for subject in subjects:
        assert subject.label is not None
        assert subject.image.read_bytes() == (cohort / subject.image.name).read_bytes()
    assert sorted(path.name for path in Path("data").iterdir()) == ["raw"]
    assert len(list(RAW.iterdir())) == 17


def image(cohort: Path) -> Path:
    return cohort / "ct_train_1001_image.nii.gz"


def label(cohort: Path) -> Path:
    return cohort / "ct_train_1001_label.nii.gz"


def loaded(path: Path) -> np.ndarray[Any, Any]:
    return np.asarray(nib.load(path).get_fdata(dtype=np.float32))


def truncate(cohort: Path) -> None:
    image(cohort).write_bytes(image(cohort).read_bytes()[:-30])


def test_fault_stops_the_stage_and_keeps_the_old_cohort(cohort: Path) -> None:
    RAW.mkdir(parents=True)
    (RAW / "old").write_text("cohort")
    truncate(cohort)
    with pytest.raises(DataError, match="Compressed file ended"):
        main()
    assert [path.as_posix() for path in Path("data").rglob("*")] == ["data/raw", "data/raw/old"]


def test_all_findings_are_listed_and_nothing_is_written(cohort: Path) -> None:
    truncate(cohort)
    save(label(cohort), np.where(CODES == 850, 9, CODES))
    save(cohort / "ct_train_1002_label.nii.gz", CODES[:-1])
    (cohort / "mr_train_1001_image.nii.gz").unlink()
    (cohort / "mr_train_1002_label.nii.gz").unlink()
    save(cohort / "mr_train_1003_label.nii.gz", 0 * CODES)
    with pytest.raises(DataError) as caught:
        main()
    rows = [
        line.split()[:3] for line in str(caught.value).splitlines() if line.startswith(("error", "warning"))
    ]
    assert rows == [
        ["error", "all", "modality"],
        ["error", "ct_1001", "ct_train_1001_image.nii.gz"],
        ["error", "ct_1001", "ct_train_1001_label.nii.gz"],
        ["error", "ct_1002", "ct_train_1002_label.nii.gz"],
        ["error", "mr_1001", "mr_train_1001_label.nii.gz"],
        ["error", "mr_1002", "mr_train_1002_image.nii.gz"],
        ["error", "mr_1003", "mr_train_1003_label.nii.gz"],
        ["warning", "ct_1001", "ct_train_1001_label.nii.gz"],
    ]
    assert not RAW.exists()
    assert list(Path("data").iterdir()) == []


def test_missing_structure_warns(cohort: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(label(cohort), np.where(CODES == 850, 0, CODES))
    main()
    assert "missing structures: PA (850)" in caplog.text
    assert (RAW / "manifest.csv").is_file()


def test_stray_code_is_kept(cohort: Path) -> None:
    save(label(cohort), np.where(CODES == 420, 421, CODES))
    main()
    assert 421 in loaded(RAW / label(cohort).name)


@pytest.mark.slow
def test_phantom_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(
        "data:\n  source: phantom\n  phantom:\n    num_labelled: 3\n    num_unlabelled: 1\n"
        "    ct_spacing_mm: 5.0\n    mr_spacing_mm: 5.0\n"
    )
    main()
    subjects = read_manifest(RAW / "manifest.csv")
    assert [s.label is None for s in subjects] == [False, False, False, True] * 2
    maps = [loaded(s.label) for s in subjects if s.label]
    assert [MMWHS.unknown(codes) for codes in maps] == [[]] * 6
    assert any(421 in codes for codes in maps)
