import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.imaging.untrusted import DEFLATE_LIMIT, MAX_VOXELS, read_untrusted

DATA = np.arange(5 * 4 * 3, dtype=np.int16).reshape(5, 4, 3)
BIG = b"\x00\x10"  # 4096 as a little-endian dimension


def stored(image_class: type = nib.Nifti1Image) -> bytes:
    return bytes(image_class(DATA, np.diag([1.0, 2.0, 3.0, 1.0])).to_bytes())


@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_nifti_versions_packed_and_plain(tmp_path: Path, image_class: type, pack: type) -> None:
    path = tmp_path / "x.nii"
    path.write_bytes(pack(stored(image_class)))
    read = read_untrusted(path)
    np.testing.assert_array_equal(read.image.dataobj, DATA)
    np.testing.assert_array_equal(read.image.affine, np.diag([1.0, 2.0, 3.0, 1.0]))
    assert read.pixdim_mm.tolist() == [1, 2, 3]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_truncation_is_detected(tmp_path: Path, pack: type) -> None:
    whole = pack(stored())
    for length in range(len(whole)):
        (tmp_path / "x.nii").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"truncated|read to its end|NIfTI|empty"):
            read_untrusted(tmp_path / "x.nii")


def test_flipped_bit_is_detected(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(stored(), compresslevel=0))
    packed[-20] ^= 1
    (tmp_path / "x.nii.gz").write_bytes(packed)
    with pytest.raises(ValueError, match="its checksum or compression is wrong"):
        read_untrusted(tmp_path / "x.nii.gz")


@pytest.mark.parametrize(
    ("num_big", "message"),
    [
        (3, f"4096 x 4096 x 4096 voxels, at most {MAX_VOXELS}"),
        (2, "promises 100663648 bytes, .* cannot hold them"),  # 4096 x 4096 x 3 voxels of 2 bytes
    ],
)
def test_impossible_size_is_refused(tmp_path: Path, num_big: int, message: str) -> None:
    head = bytearray(stored())
    head[42 : 42 + 2 * num_big] = BIG * num_big
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(head))
    assert len(gzip.compress(head)) * DEFLATE_LIMIT < 100663648
    with pytest.raises(ValueError, match=message):
        read_untrusted(tmp_path / "x.nii.gz")


def test_endless_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(stored() + bytes(2**25), compresslevel=1))
    with pytest.raises(ValueError, match="holds more than"):
        read_untrusted(tmp_path / "x.nii.gz")


@pytest.mark.parametrize(
    ("start", "value", "message"),
    [
        (0, b"\1\2\3\4", "not a NIfTI"),
        (344, b"ni1\0", "not a NIfTI"),
        (42, b"\xff\xff", "damaged header"),  # a dimension of -1
        (40, b"\x09\0", "implausibly large"),  # nine axes: taken for the other byte order
        (70, b"\x0f\x27", "damaged header$"),  # no such data type
        (70, b"\x80\0", r"colours \(RGB\), not plain numbers"),
        (108, b"\0\0\xc0\x7f", "damaged header"),  # data offset NaN
    ],
)
def test_damaged_headers_are_refused(tmp_path: Path, start: int, value: bytes, message: str) -> None:
    head = bytearray(stored())
    head[start : start + len(value)] = value
    (tmp_path / "x.nii").write_bytes(head)
    with pytest.raises(ValueError, match=message):
        read_untrusted(tmp_path / "x.nii")
