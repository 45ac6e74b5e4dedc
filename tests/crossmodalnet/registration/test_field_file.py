from pathlib import Path

import nibabel as nib
import numpy as np

from crossmodalnet.registration.ants import read_field, write_field

AFFINE = np.array([[0, 0, 1.5, -33], [1.5, 0, 0, -36], [0, -1.5, 0, 34], [0, 0, 0, 1.0]])


def test_a_field_comes_back(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 3, 2, 3)).astype(np.float32)
    write_field(tmp_path / "f.nii.gz", vectors, AFFINE)
    found, affine = read_field(tmp_path / "f.nii.gz")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors)
    np.testing.assert_array_equal(affine, AFFINE)


def test_on_disk_it_is_as_ants_writes_it(tmp_path: Path) -> None:
    write_field(tmp_path / "f.nii.gz", np.broadcast_to([1.0, 2.0, 3.0], (4, 3, 2, 3)), np.eye(4))
    image = nib.load(tmp_path / "f.nii.gz")
    assert image.shape == (4, 3, 2, 1, 3)
    assert image.header.get_intent()[0] == "vector"
    assert np.asarray(image.dataobj)[0, 0, 0, 0].tolist() == [-1, -2, 3]
