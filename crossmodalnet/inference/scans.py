"""Read scans from paths, images or arrays as checked volumes."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from crossmodalnet.imaging import inspect
from crossmodalnet.imaging.geometry import odd_extent
from crossmodalnet.imaging.read import read_scan
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.untrusted import UntrustedImage, from_itk
from crossmodalnet.imaging.volume import Volume

# Path, nibabel or SimpleITK image, volume, or voxels with an affine.
Scan = Any

MIN_VOXELS_PER_AXIS = 8


def read_volume(scan: Scan, modality: Modality, series: Sequence[str] = ()) -> tuple[Volume, tuple[str, ...]]:
    """Read and check a scan: float32 voxels (CT: HU), and notes on its header.

    Args:
        scan: path of a NIfTI, NRRD or MetaImage file or of a folder with a DICOM series; nibabel or SimpleITK image;
            `Volume`; or voxels `(i, j, k)` with their affine (voxel index to RAS, mm).
        series: selection in a folder of several series, see `series_files`.

    Raises:
        ValueError: unreadable, not three-dimensional, without geometry, not finite, or without contrast.
        TypeError: not a scan.

    >>> ct, notes = read_volume("ct.nii.gz", Modality.CT)
    >>> ct.data.dtype, ct.spacing_mm, notes
    (dtype('float32'), (3.0, 3.0, 3.0), ())
    """
    volume, file = read_with_header(scan, modality, series)
    return volume, file.notes_as(modality.name)


def read_with_header(scan: Scan, modality: Modality, series: Sequence[str]) -> tuple[Volume, UntrustedImage]:
    """Read and check a scan as `read_volume` does, and return what its header says, without image."""
    name = f"{modality.name} {scan}" if isinstance(scan, str | os.PathLike) else modality.name
    file = UntrustedImage(None, np.zeros(3))
    try:
        if not isinstance(scan, str | os.PathLike):
            return _checked(modality, *_parts(scan)), file
        file = read_scan(Path(scan), series=series, modality=modality.name)
        return _checked(modality, *_of_untrusted(file)), replace(file, image=None)
    except ValueError as error:
        remedy = f": {inspect.COPY_AGAIN}" if inspect.is_damaged(str(error)) and "again" not in str(error) else ""
        raise ValueError(f"{name}: {'; '.join([f'{error}{remedy}', *file.notes_as(modality.name)])}") from error


def _parts(scan: Scan) -> tuple[Any, Any, Any]:
    """Split a scan into voxels, affine, and spacings of the header."""
    if isinstance(scan, sitk.Image):
        return _of_untrusted(from_itk(scan))
    if isinstance(scan, nib.spatialimages.SpatialImage):
        return np.asanyarray(scan.dataobj), scan.affine, np.array(scan.header.get_zooms()[:3], np.float64)
    if isinstance(scan, Volume):
        scan = (scan.data, scan.affine)
    if isinstance(scan, tuple) and len(scan) == 2:
        affine = np.asarray(scan[1], np.float64)
        if affine.shape != (4, 4):
            raise ValueError(f"affine must be 4 x 4, got shape {affine.shape}")
        return np.asarray(scan[0]), affine, np.linalg.norm(affine[:3, :3], axis=0)
    raise TypeError(f"a scan must be a path, an image, a Volume or (voxels, affine), got {type(scan)}")


def _of_untrusted(scan: UntrustedImage) -> tuple[Any, Any, Any]:
    return np.asanyarray(scan.image.dataobj), scan.image.affine, scan.pixdim_mm


def _checked(modality: Modality, data: NDArray[Any], affine: NDArray[Any], pixdim_mm: NDArray[Any]) -> Volume:
    shape = " x ".join(map(str, data.shape))
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise ValueError(f"must have three axes, has {shape} voxels: give one volume of the series")
    if min(data.shape) < MIN_VOXELS_PER_AXIS:
        raise ValueError(f"has {shape} voxels, too few for a scan of a heart: is it complete, or a localizer?")
    if data.dtype.kind not in "biuf":
        raise ValueError(f"has voxels of type {data.dtype}, not plain numbers: give one grey value per voxel")
    if findings := inspect.geometry_findings(affine, pixdim_mm):
        raise ValueError(f"{findings[0].what}: {findings[0].remedy}")
    if problem := odd_extent(data.shape, np.linalg.norm(affine[:3, :3], axis=0).tolist()):
        raise ValueError(f"{problem}: are its spacings in mm?")
    with np.errstate(over="ignore"):  # larger numbers become infinite, and are rejected
        data = data.astype(np.float32)
    if not np.isfinite(data).all():
        raise ValueError("has voxels that are not finite numbers (NaN or infinite)")
    if data.min() == data.max():
        raise ValueError(f"has no contrast: every voxel is {float(data.min()):g}")
    step = max(1, round((data.size / inspect.LEVEL_SAMPLES) ** (1 / 3)))
    if num := inspect.few_levels(data[::step, ::step, ::step].ravel()):
        raise ValueError(f"has {num} grey levels, as a label map or a mask: give the scan itself")
    if inspect.seems_inverted(data, modality):
        raise ValueError(f"{inspect.INVERTED}: {inspect.INVERTED_REMEDY}")
    return Volume(data, np.asarray(affine, np.float64))
