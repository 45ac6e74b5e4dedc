"""Read and write NIfTI images and label maps of the pipeline."""

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.codes import MMWHS
from crossmodalnet.imaging.structures import STRAY_CODES, to_codes
from crossmodalnet.imaging.untrusted import cause
from crossmodalnet.imaging.volume import Volume

logger = logging.getLogger(__name__)


def read_image(path: str | os.PathLike[str]) -> Volume:
    """Read a 3-D image as float32; ValueError names an unreadable file.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "ct.nii.gz"
    ...     write_image(file, Volume(np.full((4, 5, 6), -1000.0), np.eye(4)))
    ...     ct = read_image(file)
    >>> ct.data.shape, float(ct.data.max())
    ((4, 5, 6), -1000.0)
    """
    data, affine = _load(path)
    return Volume(np.asarray(data, np.float32), affine)


def read_label_map(path: str | os.PathLike[str]) -> Volume:
    """Read an MM-WHS label map as class indices (uint8); the stray code 421 becomes LA and is logged.

    ValueError names an unreadable file, or one with unknown codes.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "labels.nii.gz"
    ...     write_label_map(file, Volume(np.full((4, 5, 6), 3, np.uint8), np.eye(4)))
    ...     codes, labels = read_image(file), read_label_map(file)
    >>> int(codes.data.max()), int(labels.data.max())
    (420, 3)
    """
    data, affine = _load(path)
    for stray, meant in STRAY_CODES.items():
        if num_stray := int((data == stray).sum()):
            logger.info("%s: %d voxels of code %d read as %d", path, num_stray, stray, meant)
    try:
        return Volume(MMWHS.to_indices(data), affine)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_image(path: str | os.PathLike[str], volume: Volume) -> None:
    """Write an image as float32 NIfTI."""
    _save(path, volume.data.astype(np.float32), volume.affine)


def write_label_map(path: str | os.PathLike[str], volume: Volume) -> None:
    """Write class indices as an int16 NIfTI label map with MM-WHS codes."""
    write_codes(path, to_codes(volume.data), volume.affine)


def write_codes(path: str | os.PathLike[str], codes: NDArray[np.int16], affine: NDArray[np.float64]) -> None:
    """Write codes `(i, j, k)` unchanged, as int16."""
    _save(path, codes.astype(np.int16), affine)


def _load(path: str | os.PathLike[str]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    try:
        image = nib.load(path)
        data = np.asanyarray(image.dataobj)
    except Exception as error:  # nibabel raises a dozen kinds for a damaged file
        raise ValueError(f"{path}: cannot be read as NIfTI{cause(error)}") from error
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise ValueError(f"{path}: has shape {data.shape}, expected 3 axes")
    return data, np.asarray(image.affine, np.float64)


def _save(path: str | os.PathLike[str], data: NDArray[Any], affine: NDArray[np.float64]) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm")
    handle, temporary = tempfile.mkstemp(suffix=".nii.gz", prefix=".", dir=path.parent)
    os.close(handle)
    try:
        nib.save(image, temporary)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
