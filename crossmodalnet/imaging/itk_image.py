"""One SimpleITK image, read within limits and turned into what the checks of NIfTI files look at."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from crossmodalnet.imaging.companions import companion
from crossmodalnet.imaging.untrusted import DEFLATE_LIMIT, MAX_VOXELS, UntrustedImage

# SimpleITK guesses the format by content, HDF5 and others among them; these read what their names say.
READERS = {"nrrd": "NrrdImageIO", "metaimage": "MetaImageIO", "dicom": "GDCMImageIO"}
MODALITY_TAG = "0008|0060"
# Headers of NRRD and MetaImage are some dozens of lines of text.
MAX_HEADER_BYTES = 2**16
_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])


def read_itk(path: Path, kind: str, max_voxels: int = MAX_VOXELS) -> UntrustedImage:
    """Read a NRRD, MetaImage or single DICOM file to its end.

    Args:
        path: path of the file.
        kind: key of `READERS`.
        max_voxels: most voxels that are believed; the header is asked before any voxel is read.

    Raises:
        ValueError: damaged, truncated, of another format, or implausibly large; the message does not name the file.
    """
    data = (companion(path) if kind != "dicom" else None) or path
    reader = header_reader(path, kind)
    size = reader.GetSize()
    if (num_voxels := int(np.prod(size, dtype=object))) > max_voxels:
        raise ValueError(
            f"implausibly large: {' x '.join(map(str, size))} voxels, at most {max_voxels} are read"
        )
    if num_voxels > (packed := data.stat().st_size) * DEFLATE_LIMIT:
        raise ValueError(
            f"truncated: the header promises {num_voxels} voxels, a file of {packed} bytes cannot hold them"
        )
    if reader.GetNumberOfComponents() != 1:
        raise ValueError(
            f"voxels have {reader.GetNumberOfComponents()} components (colour, vectors?), not one"
        )
    try:
        found = from_itk(reader.Execute())
    except RuntimeError as error:
        raise ValueError(f"cannot be read to its end ({last_line(error)})") from error
    if kind == "dicom":
        return replace(found, modality=tag_of(reader, MODALITY_TAG))
    if says_orientation(path, kind):
        return found
    note = "says nothing of orientation: axes assumed to run to the patient's left, back and head"
    return replace(found, notes=(*found.notes, note), says_orientation=False)


def says_orientation(path: Path, kind: str) -> bool:
    """Tell whether the header of a NRRD or MetaImage file says how its axes lie in the patient.

    Args:
        path: path of the file, whose header begins it.
        kind: `nrrd` or `metaimage`.
    """
    with path.open("rb") as file:
        head = file.read(MAX_HEADER_BYTES)
    if kind == "nrrd":
        lines = head.replace(b"\r\n", b"\n").partition(b"\n\n")[0].lower()
        return b"\nspace:" in lines and b"\nspace directions:" in lines
    lines = b"\n" + head.partition(b"ElementDataFile")[0]
    return any(b"\n" + key in lines for key in (b"TransformMatrix", b"Orientation", b"Rotation"))


def tag_of(header: sitk.ImageFileReader, tag: str) -> str:
    """Give the printable text of a DICOM tag, empty where there is none."""
    text = header.GetMetaData(tag) if header.HasMetaDataKey(tag) else ""
    return "".join(c for c in text if c.isprintable()).strip()


def header_reader(path: Path, kind: str) -> sitk.ImageFileReader:
    """Give a reader that has read the header alone.

    Raises:
        ValueError: the header is damaged or of another format.
    """
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(READERS[kind])
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(f"is not {kind}, or its header is damaged ({last_line(error)})") from error
    return reader


def from_itk(image: sitk.Image) -> UntrustedImage:
    """Turn an image in LPS into nibabel's, whose world is RAS; voxels of 64-bit whole numbers become float64.

    Raises:
        ValueError: the voxels are no plain numbers.
    """
    data = sitk.GetArrayFromImage(image).T
    if data.dtype.kind not in "iuf":
        raise ValueError(f"voxels are {data.dtype}, not plain numbers")
    if data.dtype in (np.int64, np.uint64):
        data = data.astype(np.float64)
    return UntrustedImage(
        nib.Nifti1Image(data, _affine(image)), np.asarray(image.GetSpacing()[:3], np.float64)
    )


def last_line(error: Exception) -> str:
    """The last line of a message of ITK; those before it are places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _affine(image: sitk.Image) -> NDArray[np.float64]:
    """Give the affine of the first three axes; two-dimensional images are refused later, by their shape."""
    count = image.GetDimension()
    direction = np.eye(4)
    direction[:count, :count] = np.reshape(image.GetDirection(), (count, count))
    spacing, origin = np.ones(4), np.zeros(4)
    spacing[:count], origin[:count] = image.GetSpacing(), image.GetOrigin()
    affine = np.eye(4)
    affine[:3, :3] = _RAS_FROM_LPS @ (direction[:3, :3] * spacing[:3])
    affine[:3, 3] = _RAS_FROM_LPS @ origin[:3]
    return affine
