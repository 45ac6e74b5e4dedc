import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import read_image, read_label_map
from crossmodalnet.imaging.resample import to_sitk
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.phantom.generate import make_subject
from pipeline.cohort.integrity import Reports
from pipeline.cohort.own_data import check_own, lay_out_own
from pipeline.cohort.pairs import Subject
from pipeline.cohort.table import ScanTable
from pipeline.config.sections import DataConfig
from tests.pipeline.cohort.conftest import AFFINE, SHAPE

# Made-up codes for LV to PA.
OWN = {"LV": 11, "RV": 12, "LA": 13, "RA": 14, "Myo": 15, "AO": 16, "PA": 17}
Cohort = Callable[..., Path]


def save(path: Path, data: np.ndarray[Any, Any], affine: np.ndarray[Any, Any] = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".nii" in path.name:
        nib.save(nib.Nifti1Image(data, affine), path)
    else:
        sitk.WriteImage(to_sitk(Volume(data, affine)), str(path))


def codes() -> np.ndarray[Any, Any]:
    return np.resize(np.array([0, *OWN.values()], np.int16), SHAPE)


def noise(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(-1000, 1000, SHAPE, dtype=np.int16)


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Three patients with CT and MR and one with a CT without label, as a table."""

    def make(image_suffix: str = ".nii.gz", label_suffix: str = ".nii.gz") -> Path:
        lines = ["patient,modality,image,label,role"]
        for number in range(1, 4):
            for modality in ("CT", "MR"):
                image = f"scans/{modality}{number}{image_suffix}"
                label = f"seg/{modality}{number}{label_suffix}"
                values = noise(10 * number + len(lines))
                save(tmp_path / "own" / image, values if modality == "CT" else np.abs(values))
                save(tmp_path / "own" / label, codes())
                lines.append(f"Pat {number},{modality},{image},{label},")
        save(tmp_path / "own/scans/CT4.nii.gz", noise(99))
        lines.append("Pat 4,CT,scans/CT4.nii.gz,,")
        (tmp_path / "own/table.csv").write_text("\n".join(lines) + "\n")
        return tmp_path / "own/table.csv"

    return make


def read(path: Path, **changes: Any) -> tuple[ScanTable, Reports]:
    return check_own(DataConfig(source="table", path=str(path), **({"labels": OWN} | changes)))


def check(path: Path, **changes: Any) -> list[tuple[str, str, str, str]]:
    return [(f.severity, f.case, f.file, f.what) for f in read(path, **changes)[0].findings]


def errors_of(path: Path, **changes: Any) -> list[tuple[str, str, str]]:
    return [found[1:] for found in check(path, **changes) if found[0] == "error"]


def laid_out(path: Path, folder: Path, **changes: Any) -> list[Subject]:
    table, reports = read(path, **changes)
    assert [finding for finding in table.findings if finding.severity == "error"] == []
    folder.mkdir()
    return lay_out_own(table, reports, folder)


@pytest.mark.parametrize("suffixes", [(".nii.gz", ".nii"), (".nrrd", ".mha"), (".mhd", ".nhdr")])
def test_table_is_laid_out_with_codes_of_mmwhs(cohort: Cohort, suffixes: tuple[str, str], tmp_path: Path) -> None:
    path = cohort(*suffixes)
    assert check(path) == []
    subjects = laid_out(path, tmp_path / "raw")
    labelled = [f"{modality}_Pat-{number}" for number in (1, 2, 3) for modality in ("ct", "mr")]
    assert [s.name for s in subjects] == [*labelled, "ct_Pat-4"]
    files = {file for s in subjects for file in (s.image, s.label) if file}
    assert set((tmp_path / "raw").iterdir()) == files
    laid_out(path, tmp_path / "again")
    assert all((tmp_path / "again" / file.name).read_bytes() == file.read_bytes() for file in files)
    for subject in subjects[:-1]:
        assert subject.label
        label = read_label_map(subject.label)
        assert np.array_equal(label.data, np.resize(np.arange(8), SHAPE))
        assert read_image(subject.image).grid.same_as(label.grid)
        assert np.allclose(label.affine, AFFINE)
    assert np.array_equal(read_image(subjects[0].image).data, noise(11).astype(np.float32))
    assert subjects[-1].label is None


def in_label(data: Any, affine: Any = AFFINE) -> Callable[[Path], None]:
    return lambda folder: save(folder / LABEL[1], data, affine)


def unreadable(folder: Path) -> None:
    (folder / IMAGE[1]).write_bytes(b"\x1f\x8bx")


LABEL, IMAGE = ("row 5 (mr_Pat-2)", "seg/MR2.nii.gz"), ("row 6 (ct_Pat-3)", "scans/CT3.nii.gz")
MOVED = AFFINE + np.outer([1, 0, 0, 0], [0, 0, 0, 9])
FAULTS: dict[str, tuple[Callable[[Path], None], tuple[str, str], str]] = {
    "grid": (in_label(codes()[:-1]), LABEL, "(7, 7, 6), its image (8, 7, 6)"),
    "moved": (in_label(codes(), MOVED), LABEL, "affines differ by up to 9.00 mm"),
    "unreadable": (unreadable, IMAGE, "unreadable"),
    "same voxels": (
        lambda folder: save(folder / IMAGE[1], noise(11)), IMAGE, "the same voxels as the image of row 2 (ct_Pat-1)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_faults_in_files_are_listed_by_row(cohort: Cohort, name: str) -> None:
    fault, place, what = FAULTS[name]
    path = cohort()
    fault(path.parent)
    [(*where, found)] = errors_of(path)
    assert tuple(where) == place
    assert what in found


def test_structure_in_no_label_map_must_be_declared(cohort: Cohort) -> None:
    path = cohort()
    for file in (path.parent / "seg").iterdir():
        save(file, np.where(codes() == 17, 0, codes()))
    assert ("all", "", "PA in no label map") in errors_of(path)
    assert errors_of(path, missing=["PA"]) == []
    without = {name: code for name, code in OWN.items() if name != "PA"}
    assert check(path, labels=without) == []


def test_what_is_wrong_with_all_scans_is_one_error(tmp_path: Path) -> None:
    lines = ["patient,modality,image,label"]
    values = np.array([0, *OWN.values()], np.int16)
    for number, (patient, modality) in enumerate(product("AB", ("ct", "mr"))):
        image, label = make_subject(Modality(modality), 6.0, 4, number)
        lines.append(f"{patient},{modality},{number}.nii,{number}-seg.nii")
        save(tmp_path / f"{number}.nii", image.data, image.affine)
        save(tmp_path / f"{number}-seg.nii", values[label.data], label.affine)
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines))
    assert len(check(path)) == 1  # four scans are too few
    [_, (severity, case, _, what)] = check(path, labels={**OWN, "AO": OWN["PA"], "PA": OWN["AO"]})
    assert (severity, case) == ("error", "table")
    assert what.startswith("in 4 of 4 label maps: labels of AO and PA seem to be exchanged")
    for number in range(4):
        data, affine = (
            np.flip(nib.load(tmp_path / f"{number}-seg.nii").dataobj, 2),
            nib.load(tmp_path / f"{number}.nii").affine,
        )
        save(tmp_path / f"{number}-seg.nii", data, affine)
    [found] = [found for found in check(path) if "against its image" in found[3]]
    assert found[:2] == ("error", "table")
    path.write_text("\n".join([*lines[:4], "B,mr,3-seg.nii,3.nii"]))
    assert ("error", "row 5 (mr_B)", "3-seg.nii", "image and label map seem to be exchanged") in check(path)
    path.write_text("\n".join(lines).replace("B,ct", "B,x").replace("B,mr", "B,ct").replace("B,x", "B,mr"))
    assert ("warning", "row 5 (ct_B)", "", "CT and MR seem to be exchanged") in check(path)
    path.write_text("\n".join(lines).replace(",ct,", ",x,").replace(",mr,", ",ct,").replace(",x,", ",mr,"))
    assert ("error", "table", "", "CT and MR seem to be exchanged in all scans") in check(path)
    path.write_text("\n".join(lines))
    image, label = (nib.load(tmp_path / name) for name in ("0.nii", "2-seg.nii"))
    save(tmp_path / "1.nii", np.asarray(image.dataobj) + 1024, image.affine)
    assert ("error", "row 3 (mr_A)", "1.nii", "the MR is the CT, but for a constant or a factor") in check(path)
    save(tmp_path / "2-seg.nii", np.asarray(label.dataobj) + 1, label.affine)
    [odd] = [finding for finding in read(path)[0].findings if "unknown label codes" in finding.what]
    assert odd.remedy.startswith("write this label map with the values of the other 3")


def test_missing_structures_are_noted_with_labelled_subjects(cohort: Cohort, tmp_path: Path) -> None:
    subjects = laid_out(cohort(), tmp_path / "raw", missing=["PA"])
    assert [s.missing for s in subjects] == [("PA",)] * 6 + [()]
    assert 7 not in read_label_map(tmp_path / "raw/ct_Pat-1_label.nii.gz").data


def test_leftover_scans_are_listed(cohort: Cohort) -> None:
    path = cohort()
    save(path.parent / "scans/CT9.nii.gz", noise(9))
    save(path.parent / "deep/er/seg9.nrrd", codes())
    (path.parent / "dicom").mkdir()
    for name in ("IM0001", "IM0002"):
        (path.parent / "dicom" / name).write_bytes(bytes(128) + b"DICM")
    (path.parent / "notes.txt").write_text("x")
    (path.parent / ".hidden.nii").touch()
    left = [file for _, _, file, what in check(path) if "not taken" in what]
    assert left == ["deep/er/seg9.nrrd", "dicom", "scans/CT9.nii.gz"]
    path.write_text(path.read_text("utf-8") + "Pat 9,CT,lacks.nii.gz,,\n")
    assert [what for *_, what in check(path)] == ["image not found"]  # the others follow from it


@pytest.mark.parametrize(
    ("path", "message"),
    [(None, "none given"), (["a", "b"], "2 given"), (str(Path(__file__).parent), "without dataset.json")],
)
def test_path_without_a_cohort_is_refused(path: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_own(DataConfig(source="table", path=path))


def test_an_image_and_a_folder_with_a_table_are_named_as_such(cohort: Cohort) -> None:
    path = cohort()
    assert errors_of(path.parent / "scans/CT1.nii.gz") == [("table", "CT1.nii.gz", "is an image, not a table")]
    with pytest.raises(DataError, match=r"give a CSV, for instance .*table\.csv"):
        check(path.parent)


def test_label_maps_with_reversed_axes_are_reoriented(cohort: Cohort, tmp_path: Path) -> None:
    path, (i, j, _) = cohort(), SHAPE
    affine = np.diag([-0.9, -1.1, 2.0, 1.0])
    affine[:2, 3] = 0.9 * (i - 1), 1.1 * (j - 1)
    save(path.parent / LABEL[1], codes()[::-1, ::-1], affine)
    assert check(path) == []
    subject = next(s for s in laid_out(path, tmp_path / "raw") if s.name == "mr_Pat-2")
    assert subject.label
    label = read_label_map(subject.label)
    assert np.array_equal(label.data, np.resize(np.arange(8), SHAPE))
    assert label.grid.same_as(read_image(subject.image).grid)


def test_pipes_and_circular_links_are_errors(cohort: Cohort) -> None:
    path = cohort()
    os.mkfifo(path.parent / "pipe")
    os.mkfifo(path.parent / "pipe.nii")
    (path.parent / "circle.nii").symlink_to(path.parent / "circle.nii")
    path.write_text(path.read_text("utf-8") + "Pat 5,CT,pipe.nii,,\nPat 6,CT,circle.nii,,\n")
    first, second = errors_of(path)
    assert first[:2] == ("row 9", "pipe.nii")
    assert "is no regular file" in first[2]
    assert second[:2] == ("row 10", "circle.nii")
