import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.imaging.nifti import read_image, read_label_map
from pipeline.cohort.own_data import MOST_NAMED, check_own, lay_out_own, subjects_of
from pipeline.config.params import validate
from pipeline.config.sections import DataConfig

SHAPE = (8, 7, 6)
AFFINE = np.diag([0.9, 1.1, 2.0, 1.0])
# Made-up codes for LV to PA.
OWN = {"LV": 11, "RV": 12, "LA": 13, "RA": 14, "Myo": 15, "AO": 16, "PA": 17}
Cohort = Callable[..., Path]


def save(path: Path, data: np.ndarray[Any, Any], affine: np.ndarray[Any, Any] = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".nii" in path.name:
        nib.save(nib.Nifti1Image(data, affine), path)
        return
    image = sitk.GetImageFromArray(data.T)
    image.SetSpacing([float(v) for v in np.diag(affine)[:3]])
    image.SetDirection((-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    sitk.WriteImage(image, str(path))


def codes(values: Mapping[str, int] = OWN) -> np.ndarray[Any, Any]:
    return np.resize(np.array([0, *values.values()], np.int16), SHAPE)


def noise(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(-1000, 1000, SHAPE, dtype=np.int16)


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Three patients with CT and MR and one with a CT without label, as a table."""

    def make(image_suffix: str = ".nii.gz", label_suffix: str = ".nii.gz") -> Path:
        lines = ["patient,modality,image,label,role"]
        for number in range(1, 4):
            for modality in ("CT", "MR"):
                image, label = (
                    f"scans/{modality}{number}{image_suffix}",
                    f"seg/{modality}{number}{label_suffix}",
                )
                values = noise(10 * number + len(lines))
                save(tmp_path / "own" / image, values if modality == "CT" else np.abs(values))
                save(tmp_path / "own" / label, codes())
                lines.append(f"Pat {number},{modality},{image},{label},")
        save(tmp_path / "own/scans/CT4.nii.gz", noise(99))
        lines.append("Pat 4,CT,scans/CT4.nii.gz,,")
        (tmp_path / "own/table.csv").write_text("\n".join(lines) + "\n")
        return tmp_path / "own/table.csv"

    return make


def check(path: Path, **changes: Any) -> list[tuple[str, str, str, str]]:
    params = DataConfig(source="table", path=str(path), **({"labels": OWN} | changes))
    return [(f.severity, f.case, f.file, f.what) for f in check_own(params)[0].findings]


@pytest.mark.parametrize("suffixes", [(".nii.gz", ".nii"), (".nrrd", ".mha"), (".mhd", ".nhdr")])
def test_table_is_laid_out_with_codes_of_mmwhs(
    cohort: Cohort, suffixes: tuple[str, str], tmp_path: Path
) -> None:
    path = cohort(*suffixes)
    table, reports = check_own(DataConfig(source="table", path=str(path), labels=OWN))
    assert table.findings == []
    folder = tmp_path / "raw"
    folder.mkdir()
    subjects = lay_out_own(table, reports, folder)
    assert [s.name for s in subjects] == [f"{m}_Pat-{n}" for n in (1, 2, 3) for m in ("ct", "mr")] + [
        "ct_Pat-4"
    ]
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        file.name for s in subjects for file in (s.image, s.label) if file
    )
    for subject in subjects[:-1]:
        assert subject.label
        label = read_label_map(subject.label)
        assert np.array_equal(label.data, np.resize(np.arange(8), SHAPE))
        assert read_image(subject.image).grid.same_as(label.grid)
        assert np.allclose(label.affine, AFFINE)
    assert np.array_equal(read_image(subjects[0].image).data, noise(11).astype(np.float32))
    assert subjects[-1].label is None


def test_layout_is_deterministic(cohort: Cohort, tmp_path: Path) -> None:
    table, reports = check_own(DataConfig(source="table", path=str(cohort(".nrrd", ".nii")), labels=OWN))
    written = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        lay_out_own(table, reports, tmp_path / name)
        written.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert written[0] == written[1]


def seg(path: Path, name: str = "seg/MR2.nii.gz") -> Path:
    return path.parent / name


FAULTS: dict[str, tuple[Callable[[Path], Any], tuple[str, str], str]] = {
    "unknown code": (
        lambda p: save(seg(p), np.where(codes() == 13, 77, codes())), ("row 5 (mr_Pat-2)", "seg/MR2.nii.gz"),
        "unknown label codes 77",
    ),
    "half a code": (
        lambda p: save(seg(p), np.where(codes() == 13, 12.5, codes())), ("row 5 (mr_Pat-2)", "seg/MR2.nii.gz"),
        "unknown label codes 12.5",
    ),
    "grid": (
        lambda p: save(seg(p), codes()[:-1]), ("row 5 (mr_Pat-2)", "seg/MR2.nii.gz"), "(7, 7, 6), its image (8, 7, 6)",
    ),
    "moved": (
        lambda p: save(seg(p), codes(), np.array([[1, 0, 0, 9], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ AFFINE),
        ("row 5 (mr_Pat-2)", "seg/MR2.nii.gz"), "affines differ by up to 9.00 mm",
    ),
    "empty": (lambda p: save(seg(p), 0 * codes()), ("row 5 (mr_Pat-2)", "seg/MR2.nii.gz"), "empty label map"),
    "unreadable": (
        lambda p: (p.parent / "scans/CT3.nii.gz").write_bytes(b"\x1f\x8bx"), ("row 6 (ct_Pat-3)", "scans/CT3.nii.gz"),
        "unreadable",
    ),
    "same voxels": (
        lambda p: save(p.parent / "scans/CT3.nii.gz", noise(11)), ("row 6 (ct_Pat-3)", "scans/CT3.nii.gz"),
        "the same voxels as the image of row 2 (ct_Pat-1)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_faults_in_files_are_listed_by_row(cohort: Cohort, name: str) -> None:
    fault, place, what = FAULTS[name]
    path = cohort()
    fault(path)
    errors = [found for found in check(path) if found[0] == "error"]
    assert [found[1:3] for found in errors] == [place]
    assert what in errors[0][3]


def test_codes_of_another_data_set_are_unknown(cohort: Cohort) -> None:
    found = check(cohort(), labels="mmwhs")
    assert len([f for f in found if "unknown label codes 11, 12, 13" in f[3]]) == 6


def test_structure_in_no_label_map_must_be_declared(cohort: Cohort) -> None:
    path = cohort()
    for file in (path.parent / "seg").iterdir():
        save(file, np.where(codes() == 17, 0, codes()))
    assert ("error", "all", "", "PA in no label map") in check(path)
    assert [f for f in check(path, missing=["PA"]) if f[0] == "error"] == []
    without = {name: code for name, code in OWN.items() if name != "PA"}
    assert check(path, labels=without) == []


def test_missing_structures_are_noted_with_labelled_subjects(cohort: Cohort, tmp_path: Path) -> None:
    params = DataConfig(source="table", path=str(cohort()), labels=OWN, missing=["PA"])
    subjects = subjects_of(check_own(params)[0], tmp_path)
    assert [s.missing for s in subjects] == [("PA",)] * 6 + [()]
    (tmp_path / "raw").mkdir()
    lay_out_own(*check_own(params), tmp_path / "raw")
    assert 7 not in read_label_map(tmp_path / "raw/ct_Pat-1_label.nii.gz").data


def test_leftover_scans_are_listed(cohort: Cohort) -> None:
    path = cohort()
    save(path.parent / "scans/CT9.nii.gz", noise(9))
    save(path.parent / "deep/er/seg9.nrrd", codes())
    (path.parent / "dicom").mkdir()
    (path.parent / "dicom/IM0001").write_bytes(bytes(128) + b"DICM")
    (path.parent / "dicom/IM0002").write_bytes(bytes(128) + b"DICM")
    (path.parent / "notes.txt").write_text("x")
    (path.parent / ".hidden.nii").touch()
    assert [f[2] for f in check(path) if "not taken" in f[3]] == [
        "deep/er/seg9.nrrd",
        "dicom",
        "scans/CT9.nii.gz",
    ]


def test_many_leftover_scans_are_counted_by_folder(cohort: Cohort) -> None:
    path = cohort()
    for number in range(MOST_NAMED):
        (path.parent / f"other/project{number % 7}").mkdir(parents=True, exist_ok=True)
        (path.parent / f"other/project{number % 7}/{number}.nii.gz").touch()
    assert len([f for f in check(path) if "not taken" in f[3]]) == MOST_NAMED
    (path.parent / "one.nii").touch()
    assert [f[2:4] for f in check(path) if "not taken" in f[3]] == [
        (".", "number of files below that look like scans and are not taken: 1"),
        ("other", f"number of files below that look like scans and are not taken: {MOST_NAMED}"),
    ]


def test_scan_listed_twice_is_reported_once(cohort: Cohort) -> None:
    path = cohort()
    path.write_text(path.read_text("utf-8") + "Pat 1,CT,scans/CT1.nii.gz,,\n")
    errors = [f for f in check(path) if f[0] == "error"]
    assert [f[1] for f in errors] == ["row 9 (ct_Pat-1)"] * 2
    assert "a second time" in errors[0][3]


def test_path_without_a_cohort_is_refused(tmp_path: Path) -> None:
    for path, message in (
        (None, "needs one data.path, none given"),
        (["a", "b"], "needs one data.path, 2 given"),
        ("lacks.csv", "lacks.csv does not exist"),
        (str(tmp_path), "a folder without dataset.json and imagesTr"),
    ):
        with pytest.raises(DataError, match=message):
            check_own(DataConfig(source="table", path=path))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"LV": 1, "liver": 2}, "unknown structure 'liver'"),
        ({"LV": 1, "RV": 1}, "has another meaning"),
        ({"LV": True}, "data.labels"),
        ("mmvhs", "'mmwhs'"),
    ],
)
def test_invalid_labels_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        validate(DataConfig, {"source": "table", "labels": labels}, "data")


@pytest.mark.parametrize("signs", [(-1, 1, 1), (1, -1, -1)])
def test_label_maps_with_reversed_axes_are_reoriented(
    cohort: Cohort, tmp_path: Path, signs: tuple[int, int, int]
) -> None:
    """The same lattice as another program writes it; the values stay where they are in the world."""
    path = cohort()
    data, affine = codes(), AFFINE.copy()
    for axis in (axis for axis, sign in enumerate(signs) if sign < 0):
        data = np.flip(data, axis)
        affine[axis, 3] = affine[axis, axis] * (SHAPE[axis] - 1)
        affine[axis, axis] *= -1
    save(seg(path), data, affine)
    table, reports = check_own(DataConfig(source="table", path=str(path), labels=OWN))
    assert table.findings == []
    (tmp_path / "raw").mkdir()
    subject = next(s for s in lay_out_own(table, reports, tmp_path / "raw") if s.name == "mr_Pat-2")
    assert subject.label
    label = read_label_map(subject.label)
    assert np.array_equal(label.data, np.resize(np.arange(8), SHAPE))
    assert label.grid.same_as(read_image(subject.image).grid)


@pytest.mark.parametrize("ignored", [{"labels": "index"}, {"missing": ["PA"]}])
def test_labels_without_effect_are_refused(ignored: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="labels and missing are of source table, got source mmwhs"):
        validate(DataConfig, {"source": "mmwhs", "path": "x", **ignored}, "data")


def test_pipes_and_circular_links_are_errors(cohort: Cohort) -> None:
    path = cohort()
    os.mkfifo(path.parent / "pipe")
    os.mkfifo(path.parent / "pipe.nii")
    (path.parent / "circle.nii").symlink_to(path.parent / "circle.nii")
    path.write_text(path.read_text("utf-8") + "Pat 5,CT,pipe.nii,,\nPat 6,CT,circle.nii,,\n")
    errors = [f for f in check(path) if f[0] == "error"]
    assert [f[1:3] for f in errors] == [("row 9", "pipe.nii"), ("row 10", "circle.nii")]
    assert "is no regular file" in errors[0][3]
