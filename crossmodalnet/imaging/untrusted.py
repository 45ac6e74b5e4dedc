"""Read untrusted files to their ends and within limits: NIfTI by nibabel, others by ITK."""

import gzip
import io
import locale
import math
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from crossmodalnet.imaging.geometry import settled_affine
from crossmodalnet.imaging.volume import RAS_TO_LPS, Grid, Volume

# Six times the largest scan of MM-WHS (512 x 512 x 363).
MAX_VOXELS = 2**29
# Best ratio of deflate: a header that promises more is wrong, or a zip bomb.
DEFLATE_LIMIT = 1032
MAX_TRAILING_BYTES = 2**24
CHUNK_BYTES = 2**22
# Header size: class, position and value of the magic string.
FORMATS = {348: (nib.Nifti1Image, 344, b"n+1\0"), 540: (nib.Nifti2Image, 4, b"n+2\0")}
# One format each: SimpleITK would guess by content, also HDF5 and others.
READERS = {"nrrd": "NrrdImageIO", "metaimage": "MetaImageIO", "dicom": "GDCMImageIO"}
# Text headers of NRRD and MetaImage are shorter.
HEADER_BYTES = 2**16
# Words of libraries and what they mean; the last are names and addresses in C++, which say nothing to a user.
_CAUSES = (
    (r"EOF|end of header|but received|got only|end-of-stream|not read completely|file be damaged", "it ends early"),
    (r"CRC|data check|data read error|Uncompress failed", "its checksum or compression is wrong"),
    (r"0x|ITK|^Reason|ScalarType|^\d*$", ""),
)
_ONE_AT_A_TIME = Lock()
_DATA_FILE = re.compile(rb"^\s*(?:data ?file\s*:|ElementDataFile\s*=)[ \t]*(?P<name>[^\r\n]*)", re.I | re.M)


@dataclass(frozen=True)
class UntrustedImage:
    """A file that was read to its end.

    Attributes:
        image: nibabel's image; voxels are in memory as stored and converted on access.
        pixdim_mm: the three spacings in the header, not repaired, mm.
        notes: a sentence per gap or contradiction in the header, with the assumption made.
        tags: text of DICOM's tags in the first slice, by keyword, such as Modality; empty for other formats.
    """

    image: Any
    pixdim_mm: NDArray[np.float64]
    notes: tuple[str, ...] = ()
    says_orientation: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        """Return the grid of a valid 3-D file."""
        i, j, k = self.image.shape[:3]
        return Grid((i, j, k), np.asarray(self.image.affine, np.float64))

    def volume(self) -> Volume:
        """Return the voxels of a valid file, without a fourth axis of length one."""
        data = np.asanyarray(self.image.dataobj)
        return Volume(data[..., 0] if data.ndim == 4 else data, np.asarray(self.image.affine, np.float64))

    def notes_as(self, modality: str) -> tuple[str, ...]:
        """Return the notes, plus one if the header contradicts the user's `modality` (`CT` or `MR`)."""
        found = self.tags.get("Modality", modality)
        if found == modality:
            return self.notes
        return (*self.notes, f"DICOM says that it is {found}: taken as {modality}, as it was given")


def check_num_voxels(shape: Sequence[int]) -> int:
    """Return the number of voxels of a shape; ValueError above `MAX_VOXELS`."""
    if (num_voxels := math.prod(map(int, shape))) > MAX_VOXELS:
        raise ValueError(f"implausibly large: {' x '.join(map(str, shape))} voxels, at most {MAX_VOXELS} are read")
    return num_voxels


def is_stored(real: Path) -> bool:
    """Check whether a resolved path lies in the store of DVC or git-annex, to which tracked files may be links."""
    return bool(re.search(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$|/\.git/annex/objects/", real.as_posix()))


def is_gzip(path: Path) -> bool:
    """Detect gzip compression by the first two bytes."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def read_untrusted(path: str | os.PathLike[str]) -> UntrustedImage:
    """Read a single-file NIfTI to its end; check sizes first, and checksums; errors do not name the file."""
    path = Path(path)
    try:
        with gzip.open(path) if is_gzip(path) else path.open("rb") as stream:
            return _read(cast(BinaryIO, stream), path)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"cannot be read to its end{cause(error)}") from error


def _read(stream: BinaryIO, path: Path) -> UntrustedImage:
    head = stream.read(540)
    image_class = _image_class(head)
    try:
        size = image_class.header_class.sizeof_hdr
        header = image_class.header_class(head[:size], check=False)
        end = _promised_bytes(header)
    except (HeaderDataError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"damaged header{cause(error)}") from error
    packed = path.stat().st_size
    if end > packed * (DEFLATE_LIMIT if is_gzip(path) else 1):
        raise ValueError(f"truncated: the header promises {end} bytes, a file of {packed} bytes cannot hold them")
    buffer = _read_to_end(stream, head, end)
    try:
        image = image_class.from_stream(buffer)
    except Exception as error:  # nibabel raises a dozen kinds for a damaged header
        raise ValueError(f"damaged header{cause(error)}") from error
    affine, notes = settled_affine(header, image.shape, image.affine)
    says = bool(header["sform_code"] > 0 or header["qform_code"] > 0)
    pixdim = np.asarray(header["pixdim"][1:4], np.float64)
    # The unit was not mm. Non-finite affines are reported by later checks.
    if np.isfinite(affine).all() and not np.array_equal(affine, image.affine):
        pixdim = pixdim * np.linalg.norm(affine[:3, :3]) / np.linalg.norm(image.affine[:3, :3])
        image = image_class(image.dataobj, affine)
    return UntrustedImage(image, pixdim, tuple(notes), says)


def _image_class(head: bytes) -> Any:
    sizes = {int.from_bytes(head[:4], order) for order in ("little", "big")}
    for size, (image_class, start, magic) in FORMATS.items():
        if size in sizes and len(head) >= size and head[start : start + 4] == magic:
            return image_class
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise ValueError("is a web page, not a NIfTI file (a download that failed)")
    raise ValueError("is not a NIfTI file" if head else "is empty")


def _promised_bytes(header: Any) -> int:
    """Return the length of the whole file, header included, according to the header."""
    shape = [int(n) for n in header.get_data_shape()]
    if not shape or min(shape) < 1:
        raise ValueError(f"damaged header (dimensions {shape})")
    num_voxels = check_num_voxels(shape)
    if (kind := header.get_data_dtype()).kind not in "iuf":
        raise ValueError(f"voxels are {'colours (RGB)' if kind.names else kind}, not plain numbers")
    offset = float(header["vox_offset"])
    if not 0 <= offset < MAX_TRAILING_BYTES:
        raise ValueError(f"damaged header (data offset {offset})")
    return int(offset) + num_voxels * int(header.get_data_dtype().itemsize)


def _read_to_end(stream: BinaryIO, head: bytes, end: int) -> io.BytesIO:
    buffer = io.BytesIO()
    buffer.write(head)
    total = len(head)
    while chunk := stream.read(CHUNK_BYTES):
        # Trailing bytes are read, to verify the checksum at the end, but not kept.
        buffer.write(chunk[: max(0, end - total)])
        total += len(chunk)
        if total > end + MAX_TRAILING_BYTES:
            raise ValueError(f"holds more than the {end} bytes that its header promises")
    if total < end:
        raise ValueError(f"truncated: the header promises {end} bytes, there are {total}")
    buffer.seek(0, os.SEEK_SET)
    return buffer


@contextmanager
def kept_locale() -> Iterator[None]:
    """Restore the locale, because GDCM sets it to C and Python would read text as ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def read_itk(path: str | os.PathLike[str], kind: str) -> UntrustedImage:
    """Read a file of a format in `READERS` to its end; check the header first; errors do not name the file."""
    path = Path(path)
    header = b"" if kind == "dicom" else _text_header(path)
    data_file = path if kind == "dicom" else _data_file(path, header)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(READERS[kind])
    reader.SetFileName(str(path))
    what = "ends early, or has no pixels that are read" if kind == "dicom" else f"is not {kind}, or is damaged"
    with _plain_errors(what):
        reader.ReadImageInformation()
    num_voxels = check_num_voxels(reader.GetSize())
    if num_voxels > (packed := data_file.stat().st_size) * DEFLATE_LIMIT:
        raise ValueError(
            f"truncated: the header promises {num_voxels} voxels, a file of {packed} bytes cannot hold them"
        )
    if (components := reader.GetNumberOfComponents()) != 1:
        raise ValueError(f"voxels have {components} components (colour, vectors?), not one")
    with _plain_errors("cannot be read to its end"):
        image = reader.Execute()
    scan = from_itk(image)
    if kind == "dicom" or _says_orientation(header, kind):
        return scan
    note = "says nothing of orientation: axes assumed to run to the patient's left, back and head"
    return replace(scan, notes=(*scan.notes, note), says_orientation=False)


def _text_header(path: Path) -> bytes:
    """Read the text header of a NRRD (up to the first empty line) or MetaImage file."""
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES).replace(b"\r\n", b"\n")
    return head.partition(b"\n\n")[0] if head.startswith(b"NRRD") else head


def _data_file(path: Path, header: bytes) -> Path:
    """Return the file that holds the voxels: the header's own, or one beside it.

    Others raise ValueError: a malicious header could otherwise have any file read.
    """
    match = _DATA_FILE.search(header)
    name = match["name"].decode("utf-8", "replace").strip() if match else "LOCAL"
    if name.upper() == "LOCAL":
        return path
    if name.upper().startswith("LIST") or "%" in name:
        raise ValueError(f"header names several files for its voxels ({name!r}): save it as one file")
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ValueError(f"header names voxels in another folder ({name!r}): save it as one file")
    data_file = path.with_name(name)
    if not data_file.is_file():
        raise ValueError(f"header names {name!r} for its voxels, which is not beside it")
    real = data_file.resolve()
    if real.parent != path.resolve().parent and not is_stored(real):
        raise ValueError(f"header names {name!r} for its voxels, a link to another folder")
    return data_file


def _says_orientation(header: bytes, kind: str) -> bool:
    """Return True if the header of a NRRD or MetaImage file defines the orientation."""
    if kind == "nrrd":
        return all(key in header.lower() for key in (b"\nspace:", b"\nspace directions:"))
    lines = b"\n" + header.partition(b"ElementDataFile")[0]
    return any(b"\n" + key in lines for key in (b"TransformMatrix", b"Orientation", b"Rotation"))


@contextmanager
def _plain_errors(what: str) -> Iterator[None]:
    """Turn errors of ITK to ValueErrors in plain words; MetaImage only prints its problems to stderr."""
    problem = None
    with _ONE_AT_A_TIME, TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        except RuntimeError as error:
            problem = error
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        printed = file.read(HEADER_BYTES).decode("utf-8", "replace").splitlines()
    if problem or "Uncompress failed" in printed:  # which ITK leaves as noise
        raise ValueError(f"{what}{cause(problem or '', *printed)}") from problem


def from_itk(image: sitk.Image) -> UntrustedImage:
    """Convert ITK (LPS) to nibabel (RAS); ValueError unless voxels are plain numbers."""
    data = sitk.GetArrayFromImage(image).T
    if data.dtype.kind not in "iuf":
        raise ValueError(f"voxels are {data.dtype}, not plain numbers")
    if data.dtype in (np.int64, np.uint64):
        data = data.astype(np.float64)
    pixdim_mm = np.asarray(image.GetSpacing()[:3], np.float64)
    return UntrustedImage(nib.Nifti1Image(data, _affine(image)), pixdim_mm)


def cause(error: Exception | str, *printed: str) -> str:
    """Say in brackets what a library's error means, from its last line or the first that it printed; "" if unknown."""
    text = [*printed[:1], *str(error).strip().splitlines()[-1:], ""][0].strip()
    found = next((words for pattern, words in _CAUSES if re.search(pattern, text)), None)
    plain = re.sub(r"^\[\w+\] \w+: ", "", text) if found is None else found
    return f" ({plain})" if plain else ""


def _affine(image: sitk.Image) -> NDArray[np.float64]:
    """Return the affine of the first three axes; other numbers of axes are rejected later."""
    count = image.GetDimension()
    direction = np.eye(4)
    direction[:count, :count] = np.reshape(image.GetDirection(), (count, count))
    spacing, origin = np.ones(4), np.zeros(4)
    spacing[:count], origin[:count] = image.GetSpacing(), image.GetOrigin()
    affine = np.eye(4)
    affine[:3, :3] = direction[:3, :3] * spacing[:3]
    affine[:3, 3] = origin[:3]
    return RAS_TO_LPS @ affine
