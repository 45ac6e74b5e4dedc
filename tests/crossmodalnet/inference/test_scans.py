from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from crossmodalnet.imaging.nifti import write_image
from crossmodalnet.imaging.resample import to_sitk
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.scans import read_volume

AFFINE = np.array([[0.0, -2.0, 0, 40], [-2.2, 0, 0, 45], [0, 0, 3.0, -40], [0, 0, 0, 1]])
SINGULAR = np.array([[1.0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
DATA = np.random.default_rng(0).normal(size=(40, 40, 28)).astype(np.float32)


def read(scan: Any) -> Volume:
    return read_volume(scan, Modality.CT)[0]


def test_all_forms_of_a_scan_are_read_the_same(tmp_path: Path) -> None:
    volume = Volume(DATA, AFFINE)
    write_image(tmp_path / "ct.nii.gz", volume)
    for name in ("ct.nrrd", "ct.mha"):
        sitk.WriteImage(to_sitk(volume), str(tmp_path / name))
    forms: list[Any] = [tmp_path / "ct.nii.gz", str(tmp_path / "ct.nrrd"), tmp_path / "ct.mha", volume]
    forms += [nib.Nifti1Image(DATA, AFFINE), to_sitk(volume), (DATA, AFFINE), (DATA[..., None], AFFINE)]
    for form in forms:
        found = read(form)
        np.testing.assert_array_equal(found.data, DATA)
        np.testing.assert_allclose(found.affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize(
    ("data", "affine", "message"),
    [
        (np.full((20, 20, 20), 5.0), AFFINE, "CT: has no contrast: every voxel is 5"),
        (np.full((20, 20, 20), np.nan), AFFINE, "CT: has voxels that are not finite"),
        (np.zeros((20, 20, 20, 3)), AFFINE, "CT: must have three axes"),
        (np.zeros((20, 20, 1)), AFFINE, "too few for a scan of a heart"),
        (np.full((20, 20, 20), 1e300), AFFINE, "CT: has voxels that are not finite"),
        (np.zeros((20, 20, 20), complex), AFFINE, "type complex128, not plain numbers"),
        (np.zeros((20, 20, 9)), AFFINE, "CT: is 44 x 40 x 27 mm, smaller than any heart"),
        (np.zeros((9, 9, 800)), AFFINE, "smaller than any heart"),
        (np.zeros((20, 20, 800)), AFFINE, "CT: is 44 x 40 x 2400 mm, larger than any patient"),
        (DATA.round().clip(0), AFFINE, r"CT: has [3-6] grey levels, as a label map"),
        (DATA, SINGULAR, "CT: singular affine"),
        (DATA, np.full((4, 4), np.nan), "NaN"),
        (DATA, np.diag([1.0, 1, 50, 1]), "degenerate spacing"),
        (DATA, np.eye(3), "affine must be 4 x 4"),
    ],
)
def test_unusable_scans(data: np.ndarray, affine: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read((data, affine))


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii"
    nib.save(nib.Nifti1Image(DATA, AFFINE), path)
    content = bytearray(path.read_bytes())
    content[80:84] = np.float32(0).tobytes()  # pixdim[1]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"ct\.nii: degenerate spacing \(pixdim\): 0 x"):
        read(path)
    path.write_bytes(content[:-1000])
    with pytest.raises(ValueError, match=r"truncated: .*: copy or download the file again$"):
        read(path)
    with pytest.raises(TypeError, match="must be a path"):
        read(3)
