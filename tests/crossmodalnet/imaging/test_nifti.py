import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.imaging.nifti import read_image, read_label_map, write_image, write_label_map
from crossmodalnet.imaging.volume import Volume

AFFINE = np.array([[0, -1.5, 0, 9], [2.0, 0, 0, -4], [0, 0, 3.0, 1], [0, 0, 0, 1]])


def test_image_round_trip(tmp_path: Path) -> None:
    volume = Volume(np.random.default_rng(0).random((3, 4, 5)).astype(np.float32), AFFINE)
    write_image(tmp_path / "new" / "a.nii.gz", volume)
    back = read_image(tmp_path / "new" / "a.nii.gz")
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-5)


def test_label_maps_are_codes_on_disk_and_indices_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_label_map(path, Volume(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), AFFINE))
    assert sorted(np.unique(np.asanyarray(nib.load(path).dataobj))) == [0, 205, 420, 500, 550, 600, 820, 850]
    assert read_label_map(path).data.ravel().tolist() == list(range(8))


def test_same_bytes_every_time(tmp_path: Path) -> None:
    volume = Volume(np.ones((3, 3, 3)), AFFINE)
    write_image(tmp_path / "a.nii.gz", volume)
    write_image(tmp_path / "b.nii.gz", volume)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_stray_code_is_mapped_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "stray.nii.gz"
    nib.save(nib.Nifti1Image(np.array([[[421, 420]]], np.int16), AFFINE), path)
    with caplog.at_level(logging.INFO):
        assert read_label_map(path).data.ravel().tolist() == [3, 3]
    assert "stray.nii.gz: 1 voxels of code 421 read as 420" in caplog.text


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x1f\x8b\x08broken"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.nii.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.nii\.gz: cannot be read"):
        read_image(path)


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii.gz"
    write_image(path, Volume(np.zeros((2, 2, 2)), AFFINE))
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(nib, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_image(path, Volume(np.ones((2, 2, 2)), AFFINE))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]
