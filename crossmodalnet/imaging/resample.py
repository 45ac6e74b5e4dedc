"""Resampling between grids, by SimpleITK."""

from typing import Literal

import numpy as np
import SimpleITK as sitk

from crossmodalnet.imaging.volume import Grid, Volume

Interpolation = Literal["linear", "nearest"]
_INTERPOLATORS = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}
# NIfTI's world is RAS+, ITK's is LPS+.
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def to_sitk(volume: Volume) -> sitk.Image:
    """Make a SimpleITK image of a volume, geometry included."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.data.transpose(2, 1, 0)))
    _set_geometry(image, volume.grid)
    return image


def from_sitk(image: sitk.Image) -> Volume:
    """Make a volume of a SimpleITK image, geometry included."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Volume(sitk.GetArrayFromImage(image).transpose(2, 1, 0), _FLIP @ affine)


def resample(volume: Volume, grid: Grid, interpolation: Interpolation, fill: float = 0.0) -> Volume:
    """Sample a volume at the voxel centres of `grid`.

    Args:
        volume: image or label map, `(i, j, k)`.
        grid: grid to sample at.
        interpolation: linear for images and probabilities, nearest for label maps.
        fill: value outside the volume's field of view.

    Returns:
        `(i, j, k)` of the grid, type of the volume's data.

    >>> fine = Volume(np.arange(8, dtype=np.float32).reshape(1, 1, 8), np.eye(4))
    >>> coarse = Grid((1, 1, 4), np.diag([1.0, 1.0, 2.0, 1.0]))
    >>> resample(fine, coarse, "linear").data.ravel().tolist()
    [0.0, 2.0, 4.0, 6.0]
    """
    if volume.grid.same_as(grid, tolerance_mm=1e-6):
        return Volume(volume.data, grid.affine)
    reference = sitk.Image([int(n) for n in grid.shape], sitk.sitkUInt8)
    _set_geometry(reference, grid)
    moved = sitk.Resample(
        to_sitk(volume), reference, sitk.Transform(), _INTERPOLATORS[interpolation], float(fill)
    )
    return Volume(sitk.GetArrayFromImage(moved).transpose(2, 1, 0), grid.affine)


def _set_geometry(image: sitk.Image, grid: Grid) -> None:
    affine = _FLIP @ grid.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection(_nearest_rotation(affine[:3, :3] / spacing).ravel().tolist())


def _nearest_rotation(
    matrix: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Orthonormalise: float32 headers are never quite orthonormal and ITK refuses them."""
    u, _, v = np.linalg.svd(matrix)
    return np.asarray(u @ v, np.float64)
