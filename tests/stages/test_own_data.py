"""A group's own data through the real commands: a small phantom cohort laid out with made-up names and codes."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from crossmodalnet.imaging.nifti import read_image, read_label_map
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.phantom.generate import make_subject
from pipeline.cohort.pairs import read_manifest
from pipeline.runtime.paths import TOP

# LV to PA, and the values of a group that counts otherwise.
VALUES = np.array([0, 30, 31, 32, 33, 34, 35, 36], np.int16)
LABELS = "{LV: 30, RV: 31, LA: 32, RA: 33, Myo: 34, AO: 35, PA: 36}"
PATIENTS = ("Alpha", "Beta", "Gamma", "Delta, D.", "Epsilon")
Scans = dict[tuple[str, Modality], tuple[Volume, Volume]]


@pytest.fixture(scope="module")
def scans() -> Scans:
    """Five people, each scanned in CT and MR."""
    return {
        (patient, modality): make_subject(modality, 6.0, 4, 1001 + number, same_patient=True)
        for number, patient in enumerate(PATIENTS)
        for modality in Modality
    }


def as_itk(volume: Volume, data: np.ndarray[Any, Any]) -> sitk.Image:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.T))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def write(path: Path, volume: Volume, data: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = as_itk(volume, data)
    if path.suffix:
        sitk.WriteImage(image, str(path))
        return
    path.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    direction = image.GetDirection()
    for k in range(image.GetDepth()):
        piece = image[:, :, k]
        tags = {
            "0008|0060": "CT", "0020|000e": "1.2.3", "0020|000d": "1.2", "0008|0018": f"1.2.3.{k}", "0020|0013": str(k),
            "0020|0032": "\\".join(f"{v:.6g}" for v in image.TransformIndexToPhysicalPoint((0, 0, k))),
            "0020|0037": "\\".join(f"{direction[i]:.6g}" for i in (0, 3, 6, 1, 4, 7)),
        }  # fmt: skip
        for tag, value in tags.items():
            piece.SetMetaData(tag, value)
        writer.SetFileName(str(path / f"IM{k:04d}.dcm"))
        writer.Execute(piece)


@dataclass(frozen=True)
class Project:
    """A folder with params.yaml, in which commands run."""

    folder: Path

    def set(self, path: Path, more: str = "") -> None:
        text = f"data:\n  source: table\n  path: {path}\n{more}"
        (self.folder / "params.yaml").write_text(text)

    def run(self, *command: str, expect: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "stages", *command],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(TOP), "DVC_ROOT": str(self.folder)},
            capture_output=True,
            encoding="utf-8",
        )
        output = done.stdout + done.stderr
        assert done.returncode == expect, output
        assert "Traceback" not in output
        return output


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "project").mkdir()
    return Project(tmp_path / "project")


def lay_out_table(folder: Path, scans: Scans, image: str = ".nii.gz", label: str = ".nii.gz") -> Path:
    """Write a table with its files; `image` is a suffix, or empty for folders of DICOM."""
    lines = ["patient,modality,image,label,role"]
    for (patient, modality), (volume, labels) in scans.items():
        name = f"{patient[:3]}-{modality.value}"
        write(folder / f"img/{name}{image}", volume, np.round(volume.data).astype(np.int16))
        write(folder / f"seg/{name}{label}", labels, VALUES[labels.data])
        lines.append(f'"{patient}",{modality.value.upper()},img/{name}{image},seg/{name}{label},')
    (folder / "hearts.csv").write_text("\n".join(lines) + "\n")
    return folder / "hearts.csv"


def canonical(volume: Volume) -> nib.Nifti1Image:
    """The same voxels with axes to the right, front and top: DICOM has no left-handed grids."""
    return nib.as_closest_canonical(nib.Nifti1Image(volume.data, volume.affine))


def check_cohort(project: Project, scans: Scans, *, tolerance_mm: float = 1e-2) -> None:
    """All is there, on its grid, with the labels of the phantom, and every pair is one patient."""
    subjects = read_manifest(project.folder / "data/raw/manifest.csv")
    assert len(subjects) == len(scans)
    for subject in subjects:
        volume, labels = scans[subject.patient, subject.modality]
        assert subject.label
        image, label = read_image(subject.image), read_label_map(subject.label)
        assert image.grid.shape == label.grid.shape
        assert image.grid.largest_shift_mm(label.grid) <= tolerance_mm
        found, mask, true, expected = map(canonical, (image, label, volume, labels))
        assert np.allclose(found.affine, true.affine, atol=tolerance_mm)
        assert np.abs(np.asarray(found.dataobj) - np.asarray(true.dataobj)).max() <= 0.5
        assert np.array_equal(np.asarray(mask.dataobj), np.asarray(expected.dataobj))
    split = json.loads((project.folder / "data/split.json").read_text("utf-8"))
    entries = {role: split[role] for role in ("train", "validation", "test")}
    assert {role: len(pairs) for role, pairs in entries.items()} == {"train": 3, "validation": 1, "test": 1}
    assert sorted(entry["patient"] for pairs in entries.values() for entry in pairs) == sorted(PATIENTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image", "label"),
    [(".nii.gz", ".nii.gz"), (".nrrd", ".seg.nrrd"), ("", ".mha")],
    ids=["nifti", "nrrd", "dicom"],
)
def test_table_of_any_format(project: Project, scans: Scans, tmp_path: Path, image: str, label: str) -> None:
    table = lay_out_table(tmp_path / "own", scans, image, label)
    project.set(table, f"  labels: {LABELS}\n")
    output = project.run("data", "check")
    assert "10 scans of 5 patients" in output
    assert "5 pairs, 5 of them the CT and MR of one patient" in output
    assert not (project.folder / "data").exists()
    project.run("download")
    assert "5 of 5 pairs are the CT and MR of one patient" in project.run("split")
    check_cohort(project, scans)


@pytest.mark.slow
def test_nnunet_folder(project: Project, scans: Scans, tmp_path: Path) -> None:
    """Channels of one case lie on one grid there, which the phantom's do not: the CTs serve as both."""
    names = ["background", "left ventricle", "RV", "heart_atrium_left", "right atrium", "myocardium", "aorta"]
    description = {"channel_names": {"0": "CT", "1": "MR"}, "labels": {n: i for i, n in enumerate(names)}}
    description["labels"]["pulmonary artery"] = 7
    top, expected = tmp_path / "Dataset042_Heart", {}
    for patient in PATIENTS:
        volume, labels = scans[patient, Modality.CT]
        for channel, modality in enumerate(Modality):
            shown = Volume(np.round(volume.data * (1 - 0.5 * channel)), volume.affine)
            write(top / f"imagesTr/{patient}_{channel:04d}.nii.gz", shown, shown.data.astype(np.int16))
            expected[patient, modality] = (shown, labels)
        write(top / f"labelsTr/{patient}.nii.gz", labels, labels.data)
    (top / "dataset.json").write_text(json.dumps(description))
    project.set(top)
    assert "5 pairs, 5 of them" in project.run("data", "check")
    project.run("download")
    project.run("split")
    check_cohort(project, expected)


@pytest.mark.slow
def test_missing_structure_must_be_declared(project: Project, scans: Scans, tmp_path: Path) -> None:
    without = {
        key: (volume, Volume(np.where(labels.data == 7, 0, labels.data), labels.affine))
        for key, (volume, labels) in scans.items()
    }
    table = lay_out_table(tmp_path / "own", without)
    project.set(table, f"  labels: {LABELS}\n")
    output = project.run("download", expect=3)
    assert "PA in no label map" in output
    assert "data.missing: [PA]" in output
    project.set(table, f"  labels: {LABELS}\n  missing: [PA]\n")
    assert "not scored: PA" in project.run("download")
    project.run("split")
    assert json.loads((project.folder / "data/split.json").read_text("utf-8"))["missing"] == ["PA"]
    check_cohort(project, without)


@pytest.mark.slow
@pytest.mark.parametrize("command", [("download",), ("data", "check")])
def test_faults_of_tables_and_files_are_listed_by_row(
    project: Project, scans: Scans, tmp_path: Path, command: tuple[str, ...]
) -> None:
    table = lay_out_table(tmp_path / "own", scans)
    seg = table.parent / "seg/Bet-mr.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(seg)) + 60, str(seg))
    (table.parent / "img/Gam-ct.nii.gz").unlink()
    project.set(table, f"  labels: {LABELS}\n")
    output = project.run(*command, expect=3)
    errors = [line for line in output.splitlines() if line.startswith("error")]
    assert any("row 5" in line and "unknown label codes 60, 90" in line for line in errors)
    assert any("row 6" in line and "image not found" in line for line in errors)
    assert not list((project.folder / "data").rglob("*"))


@pytest.mark.slow
def test_example_of_the_docs(project: Project, tmp_path: Path) -> None:
    text = (
        (TOP / "docs/own_data.md")
        .read_text(encoding="utf-8")
        .replace("/tmp/hearts", str(tmp_path / "hearts"))
    )
    program = text.split("<<'EOF'\n")[1].split("EOF\n")[0]
    (tmp_path / "hearts").mkdir()
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(TOP)})
    (project.folder / "params.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    output = project.run("data", "check")
    assert "12 scans of 6 patients" in output
    assert "6 pairs, 6 of them the CT and MR of one patient" in output
    assert "0 error(s), 0 warning(s)" in output
