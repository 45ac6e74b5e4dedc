"""Reading a NIfTI file that nobody vouches for: the header, then every byte it promises, within limits."""

import gzip
import io
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from crossmodalnet.imaging.geometry import settled_affine

# The largest scan of MM-WHS has 512 x 512 x 363 voxels; six times as many are still believed.
MAX_VOXELS = 2**29
# What deflate can pack into one byte at best: a header that promises more than that is wrong, or a bomb.
DEFLATE_LIMIT = 1032
MAX_TRAILING_BYTES = 2**24
CHUNK_BYTES = 2**22
# Size of the header, and where its magic string lies.
FORMATS = {348: (nib.Nifti1Image, 344, b"n+1\0"), 540: (nib.Nifti2Image, 4, b"n+2\0")}


@dataclass(frozen=True)
class UntrustedImage:
    """A file that was read to its end.

    Attributes:
        image: nibabel's image; its voxels lie in memory as stored and are converted on access.
        pixdim_mm: the three spacings as the header has them (nibabel repairs zeros and signs), mm.
        notes: what the header does not say or says twice, and what was assumed, a sentence each.
        says_orientation: whether the header says how the scan lies in the patient.
        modality: modality that the header names, as DICOM has it (`CT`, `MR` ...); empty where it names none.
    """

    image: Any
    pixdim_mm: NDArray[np.float64]
    notes: tuple[str, ...] = ()
    says_orientation: bool = True
    modality: str = ""

    def notes_as(self, modality: str) -> tuple[str, ...]:
        """The notes, and one where the header names another modality than the user, `CT` or `MR`."""
        if not self.modality or self.modality == modality:
            return self.notes
        return (*self.notes, f"DICOM says that it is {self.modality}: taken as {modality}, as it was given")


def is_gzip(path: Path) -> bool:
    """Tell by its first two bytes whether a file is compressed, whatever its name says."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def read_untrusted(path: Path, max_voxels: int = MAX_VOXELS) -> UntrustedImage:
    """Read a single-file NIfTI, compressed or not, to its end; the checksum of a compressed file is verified.

    Memory stays within what the header promises, and that is checked against the size of the file before any
    voxel is read.

    Raises:
        ValueError: damaged, truncated, not NIfTI, or implausibly large; the message does not name the file.
    """
    try:
        with gzip.open(path) if is_gzip(path) else path.open("rb") as stream:
            return _read(cast(BinaryIO, stream), path, max_voxels)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"cannot be read to its end ({error})") from error


def _read(stream: BinaryIO, path: Path, max_voxels: int) -> UntrustedImage:
    head = stream.read(540)
    image_class = _image_class(head)
    try:
        size = image_class.header_class.sizeof_hdr
        header = image_class.header_class(head[:size], check=False)
        end = _promised_bytes(header, max_voxels)
    except (HeaderDataError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"damaged header ({error})") from error
    packed = path.stat().st_size
    if end > packed * (DEFLATE_LIMIT if is_gzip(path) else 1):
        raise ValueError(
            f"truncated: the header promises {end} bytes, a file of {packed} bytes cannot hold them"
        )
    buffer = _read_to_end(stream, head, end)
    try:
        image = image_class.from_stream(buffer)
    except Exception as error:  # nibabel raises a dozen kinds for a damaged header
        raise ValueError(f"damaged header ({error})") from error
    affine, notes = settled_affine(header, image.shape, image.affine)
    says = bool(header["sform_code"] > 0 or header["qform_code"] > 0)
    pixdim = np.asarray(header["pixdim"][1:4], np.float64)
    # In another unit. What is not finite no image can be made of; whoever looks at the affine finds it.
    if np.isfinite(affine).all() and not np.array_equal(affine, image.affine):
        pixdim = pixdim * np.linalg.norm(affine[:3, :3]) / np.linalg.norm(image.affine[:3, :3])
        image = image_class(image.dataobj, affine)
    return UntrustedImage(image, pixdim, tuple(notes), says)


def _image_class(head: bytes) -> Any:
    sizes = {int.from_bytes(head[:4], order) for order in ("little", "big")}
    for size, (image_class, start, magic) in FORMATS.items():
        if size in sizes and len(head) >= size and head[start : start + 4] == magic:
            return image_class
    raise ValueError("is not a NIfTI file" if head else "is empty")


def _promised_bytes(header: Any, max_voxels: int) -> int:
    """Give the length of the whole file, header included, that the header promises."""
    shape = [int(n) for n in header.get_data_shape()]
    if not shape or min(shape) < 1:
        raise ValueError(f"damaged header (dimensions {shape})")
    num_voxels = 1
    for length in shape:
        num_voxels *= length
    if num_voxels > max_voxels:
        raise ValueError(
            f"implausibly large: {' x '.join(map(str, shape))} voxels, at most {max_voxels} are read"
        )
    if header.get_data_dtype().kind not in "iuf":
        raise ValueError(f"voxels are {header.get_data_dtype()}, not plain numbers")
    offset = float(header["vox_offset"])
    if not 0 <= offset < MAX_TRAILING_BYTES:
        raise ValueError(f"damaged header (data offset {offset})")
    return int(offset) + num_voxels * int(header.get_data_dtype().itemsize)


def _read_to_end(stream: BinaryIO, head: bytes, end: int) -> io.BytesIO:
    buffer = io.BytesIO()
    buffer.write(head)
    total = len(head)
    while chunk := stream.read(CHUNK_BYTES):
        # What follows the voxels is read, so that the checksum at the end is verified, but not kept.
        buffer.write(chunk[: max(0, end - total)])
        total += len(chunk)
        if total > end + MAX_TRAILING_BYTES:
            raise ValueError(f"holds more than the {end} bytes that its header promises")
    if total < end:
        raise ValueError(f"truncated: the header promises {end} bytes, there are {total}")
    buffer.seek(0, os.SEEK_SET)
    return buffer
