"""A group's own data through the real commands: a small phantom cohort laid out with made-up names and codes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from crossmodalnet.imaging.nifti import read_image, read_label_map
from crossmodalnet.imaging.resample import to_sitk
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.phantom.generate import make_subject
from pipeline.cohort.pairs import read_manifest
from pipeline.runtime.paths import TOP
from tests.crossmodalnet.imaging.conftest import write_series

# LV to PA, and the values of a group that counts otherwise.
VALUES = np.array([0, 30, 31, 32, 33, 34, 35, 36], np.int16)
LABELS = "{LV: 30, RV: 31, LA: 32, RA: 33, Myo: 34, AO: 35, PA: 36}"
PATIENTS = ("Alpha", "Beta", "Gamma", "Delta, D.", "Epsilon")
Scans = dict[tuple[str, Modality], tuple[Volume, Volume]]
Run = Callable[..., str]


@pytest.fixture(scope="module")
def scans() -> Scans:
    """Five people, each scanned in CT and MR."""
    return {
        (patient, modality): make_subject(modality, 6.0, 4, 1001 + number, same_patient=True)
        for number, patient in enumerate(PATIENTS)
        for modality in Modality
    }


def write(path: Path, volume: Volume) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix:
        sitk.WriteImage(to_sitk(volume), str(path))
    else:
        write_series(path, to_sitk(volume))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a project folder, which becomes the current one, and give its output."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")

    def of(*command: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(TOP), "DVC_ROOT": str(tmp_path / "project")}
        done = subprocess.run(
            [sys.executable, "-m", "stages", *command], env=environment, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return of


def canonical(volume: Volume) -> nib.Nifti1Image:
    """The same voxels with axes to the right, front and top: DICOM has no left-handed grids."""
    return nib.as_closest_canonical(nib.Nifti1Image(volume.data, volume.affine))


def check_cohort(scans: Scans) -> None:
    """All is there, on its grid, with the labels of the phantom, and every pair is one patient."""
    subjects = read_manifest(Path("data/raw/manifest.csv"))
    assert len(subjects) == len(scans)
    for subject in subjects:
        volume, labels = scans[subject.patient, subject.modality]
        assert subject.label
        image, label = read_image(subject.image), read_label_map(subject.label)
        assert image.grid.shape == label.grid.shape
        assert image.grid.largest_shift_mm(label.grid) <= 1e-2
        found, mask, true, expected = map(canonical, (image, label, volume, labels))
        assert np.allclose(found.affine, true.affine, atol=1e-2)
        assert np.abs(np.asarray(found.dataobj) - np.asarray(true.dataobj)).max() <= 0.5
        assert np.array_equal(np.asarray(mask.dataobj), np.asarray(expected.dataobj))
    split = json.loads(Path("data/split.json").read_text("utf-8"))
    assert [len(split[role]) for role in ("train", "validation", "test")] == [3, 1, 1]
    pairs = [*split["train"], *split["validation"], *split["test"]]
    assert sorted(pair["patient"] for pair in pairs) == sorted(PATIENTS)


@pytest.mark.slow
@pytest.mark.parametrize("image", [".nrrd", ""], ids=["nrrd", "dicom"])
def test_table_of_any_format(run: Run, scans: Scans, tmp_path: Path, image: str) -> None:
    lines = ["patient,modality,image,label,role"]
    for (patient, modality), (volume, labels) in scans.items():
        name = f"{patient[:3]}-{modality.value}"
        write(tmp_path / f"own/img/{name}{image}", Volume(np.round(volume.data).astype(np.int16), volume.affine))
        write(tmp_path / f"own/seg/{name}.seg.nrrd", Volume(VALUES[labels.data], labels.affine))
        lines.append(f'"{patient}",{modality.value.upper()},img/{name}{image},seg/{name}.seg.nrrd,')
    (tmp_path / "own/hearts.csv").write_text("\n".join(lines) + "\n")
    Path("params.yaml").write_text(f"data: {{source: table, path: ../own/hearts.csv, labels: {LABELS}}}\n")
    output = run("data", "check")
    assert "10 scans of 5 patients" in output
    assert "5 pairs, 5 of them the CT and MR of one patient" in output
    assert not Path("data").exists()
    run("download")
    assert "5 of 5 pairs are the CT and MR of one patient" in run("split")
    check_cohort(scans)


@pytest.mark.slow
def test_nnunet_folder_without_a_structure(run: Run, scans: Scans, tmp_path: Path) -> None:
    names = ["background", "left ventricle", "RV", "heart_atrium_left", "right atrium", "myocardium", "aorta"]
    description = {"channel_names": {"0": "CT", "1": "MR"}, "labels": {n: i for i, n in enumerate(names)}}
    top, expected = tmp_path / "Dataset042_Heart", {}
    for patient in PATIENTS:
        volume, whole = scans[patient, Modality.CT]
        labels = Volume(np.where(whole.data == 7, 0, whole.data), whole.affine)
        for channel, modality in enumerate(Modality):
            values = 10 * np.sqrt(np.maximum(volume.data + 1024, 0)) if channel else volume.data
            shown = np.round(values).astype(np.int16)
            expected[patient, modality] = (Volume(shown, volume.affine), labels)
            write(top / f"imagesTr/{patient}_{channel:04d}.nii.gz", expected[patient, modality][0])
        write(top / f"labelsTr/{patient}.nii.gz", labels)
    (top / "dataset.json").write_text(json.dumps(description))
    Path("params.yaml").write_text(f"data: {{source: table, path: {top}}}\n")
    assert "5 pairs, 5 of them" in run("data", "check")
    assert "not scored: PA" in run("download")
    run("split")
    assert json.loads(Path("data/split.json").read_text("utf-8"))["missing"] == ["PA"]
    check_cohort(expected)


@pytest.mark.slow
def test_example_of_the_docs(run: Run, tmp_path: Path) -> None:
    text = (TOP / "docs/own_data.md").read_text("utf-8").replace("/tmp/hearts", str(tmp_path / "hearts"))
    program = text.split("<<'EOF'\n")[1].split("EOF\n")[0]
    (tmp_path / "hearts").mkdir()
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(TOP)})
    Path("params.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    output = run("data", "check")
    assert "12 scans of 6 patients" in output
    assert "6 pairs, 6 of them the CT and MR of one patient" in output
    assert "0 errors, 0 warnings" in output
