"""What later stages take for granted of a cohort: right angles, one grid, whole codes."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.imaging.geometry import is_sheared
from crossmodalnet.imaging.nifti import read_image, read_label_map
from crossmodalnet.io.outputs import file_digest
from pipeline.cohort.cohort import gather_cohort
from pipeline.config.sections import DataConfig


def gathered(cohort: Path, target: Path) -> Path:
    gather_cohort(target, DataConfig(source="mmwhs", path=str(cohort)))
    return target


def test_a_label_map_within_the_tolerance_is_put_on_its_images_grid(cohort: Path, tmp_path: Path) -> None:
    path = next(cohort.rglob("ct_train_1001_label.nii.gz"))
    label = nib.load(path)
    moved = label.affine.copy()
    moved[1, 3] += 0.08  # of 0.9 mm, the smallest spacing
    drawn = np.asarray(label.dataobj).copy()
    codes = drawn.astype(np.float64) + 3e-5
    nib.save(nib.Nifti1Image(codes, moved), path)
    before = {file.name: file_digest(file) for file in cohort.rglob("*.nii.gz")}
    raw = gathered(cohort, tmp_path / "raw")
    image, labels = read_image(raw / "ct_train_1001_image.nii.gz"), read_label_map(raw / path.name)
    assert np.array_equal(image.affine, labels.affine)
    assert np.array_equal(np.asarray(nib.load(raw / path.name).dataobj), drawn)
    # All others keep their bytes.
    changed = {name for name, digest in before.items() if file_digest(raw / name) != digest}
    assert changed == {path.name, "ct_train_1001_image.nii.gz"}


@pytest.mark.parametrize("degrees", [5.0, 15.0])
def test_a_sheared_scan_and_its_label_map_are_straightened_together(
    cohort: Path, tmp_path: Path, degrees: float
) -> None:
    for kind in ("image", "label"):
        path = next(cohort.rglob(f"mr_train_1002_{kind}.nii.gz"))
        volume = nib.load(path)
        tilted = volume.affine.copy()
        tilted[1, 2] = np.tan(np.deg2rad(degrees)) * 2.0
        nib.save(nib.Nifti1Image(np.asarray(volume.dataobj), tilted), path)
    raw = gathered(cohort, tmp_path / "raw")
    image, labels = (raw / f"mr_train_1002_{kind}.nii.gz" for kind in ("image", "label"))
    assert not is_sheared(read_image(image).grid)
    assert read_image(image).grid.largest_shift_mm(read_label_map(labels).grid) <= 1e-6
