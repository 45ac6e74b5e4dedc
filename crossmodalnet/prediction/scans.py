"""What a user hands in as a scan, as a volume that has been checked."""

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from crossmodalnet.formats.itk_image import from_itk
from crossmodalnet.formats.read import read_scan
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.labels import Modality

# Path, nibabel or SimpleITK image, volume, or voxels with an affine.
Scan = Any

# Below this a CT has air and lung; an MR has no negative voxels at all, but for offsets of a few units.
AIR_HU = -300.0
MIN_VOXELS_PER_AXIS = 8


def as_volume(scan: Scan, modality: Modality) -> Volume:
    """Read a scan.

    Args:
        scan: path of a NIfTI, NRRD or MetaImage file or of a folder with one DICOM series; nibabel or SimpleITK image;
            `Volume`; or voxels `(i, j, k)` with their affine (voxel index to RAS, mm).
        modality: what the scan is said to be, for messages.

    Returns:
        float32 voxels; CT in HU.

    Raises:
        ValueError: unreadable, not three-dimensional, without voxels' places, not finite, or without contrast.
        TypeError: no scan at all.
    """
    if isinstance(scan, str | os.PathLike):
        try:
            data, affine = _of_nibabel(read_scan(Path(scan)).image)
        except ValueError as error:
            raise ValueError(f"{modality.name} {scan}: {error}") from error
    elif isinstance(scan, Volume):
        data, affine = scan.data, scan.affine
    elif isinstance(scan, sitk.Image):
        data, affine = _of_nibabel(from_itk(scan).image)
    elif isinstance(scan, nib.spatialimages.SpatialImage):
        data, affine = _of_nibabel(scan)
    elif isinstance(scan, tuple) and len(scan) == 2:
        data, affine = np.asarray(scan[0]), np.asarray(scan[1], np.float64)
    else:
        raise TypeError(
            f"{modality.name} must be a path, an image, a Volume or (voxels, affine), got {type(scan)}"
        )
    name = f"{modality.name} {scan}" if isinstance(scan, str | os.PathLike) else modality.name
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise ValueError(
            f"{name} must have three axes, got shape {data.shape}: give one volume of the series"
        )
    if min(data.shape) < MIN_VOXELS_PER_AXIS:
        raise ValueError(
            f"{name} has {' x '.join(map(str, data.shape))} voxels, too few for a scan of a heart"
        )
    if (
        affine.shape != (4, 4)
        or not np.isfinite(affine).all()
        or not abs(np.linalg.det(affine[:3, :3])) > 1e-9
    ):
        raise ValueError(f"{name} does not say where its voxels lie: its affine is {affine.tolist()}")
    data = data.astype(np.float32)
    if not np.isfinite(data).all():
        raise ValueError(f"{name} has voxels that are not finite numbers (NaN or infinite)")
    if data.min() == data.max():
        raise ValueError(f"{name} has no contrast: every voxel is {float(data.min()):g}")
    return Volume(data, affine)


def doubts(volume: Volume, modality: Modality) -> list[str]:
    """Say what makes an image look unlike its modality, or its voxels unlike a right-angled grid."""
    found = []
    low = float(volume.data.min())
    if modality is Modality.CT and low > AIR_HU:
        found.append(
            f"CT has no voxel below {AIR_HU:g} HU ({low:g} is the least): is it in HU, and is it a CT?"
        )
    if modality is Modality.MR and low < AIR_HU:
        found.append(f"MR has voxels down to {low:g}: is it an MR, not a CT?")
    axes = volume.affine[:3, :3] / np.array(volume.spacing_mm)
    if (skew := float(np.abs(axes.T @ axes - np.eye(3)).max())) > 1e-3:
        found.append(
            f"{modality.name} has axes that are not at right angles (cosine {skew:.3f}): gantry tilt?"
        )
    return found


def _of_nibabel(image: Any) -> tuple[Any, Any]:
    return np.asanyarray(image.dataobj), np.asarray(image.affine, np.float64)
