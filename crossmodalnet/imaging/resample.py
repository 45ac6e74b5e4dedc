"""Resampling between grids, by SimpleITK."""

from typing import Literal

import numpy as np
import SimpleITK as sitk

from crossmodalnet.imaging.geometry import covering_grid, is_sheared, shear_degrees
from crossmodalnet.imaging.volume import Grid, Volume

Interpolation = Literal["linear", "nearest"]
_INTERPOLATORS = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}
# NIfTI's world is RAS+, ITK's is LPS+.
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
# Below this interpolation gives back what was there. Not the tolerance of positions: images within that are taken for
# lying on one grid, and still sampled where their voxels are.
_NOTHING_MOVES_MM = 1e-6


def to_sitk(volume: Volume) -> sitk.Image:
    """Make a SimpleITK image of a volume, geometry included.

    Raises:
        ValueError: the axes are not at right angles, which ITK has no words for; see `straightened`.
    """
    if is_sheared(volume.grid):
        angle = shear_degrees(volume.grid)
        raise ValueError(
            f"axes must be at right angles, got ones that are {angle:.1f} degrees off: straighten it first"
        )
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
    """Sample a volume at the voxel centres of `grid`; either may be sheared.

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
    if volume.grid.shape == grid.shape and volume.grid.largest_shift_mm(grid) <= _NOTHING_MOVES_MM:
        return Volume(volume.data, grid.affine)
    reference = sitk.Image([int(n) for n in grid.shape], sitk.sitkUInt8)
    if is_sheared(volume.grid) or is_sheared(grid):
        return _resample_by_index(volume, grid, reference, interpolation, fill)
    _set_geometry(reference, grid)
    moved = sitk.Resample(
        to_sitk(volume), reference, sitk.Transform(), _INTERPOLATORS[interpolation], float(fill)
    )
    return Volume(sitk.GetArrayFromImage(moved).transpose(2, 1, 0), grid.affine)


def straightened(volume: Volume, interpolation: Interpolation, fill: float = 0.0) -> Volume:
    """Sample a sheared volume on a right-angled grid that covers it; one at right angles is given back as it is.

    Args:
        volume: image or label map.
        interpolation: linear for images, nearest for label maps.
        fill: value outside the volume's field of view.
    """
    return (
        resample(volume, covering_grid(volume.grid), interpolation, fill)
        if is_sheared(volume.grid)
        else volume
    )


def _resample_by_index(
    volume: Volume, grid: Grid, reference: sitk.Image, interpolation: Interpolation, fill: float
) -> Volume:
    """Resample in the space of voxel indices, where ITK's images need no right angles; the affines are a transform."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.data.transpose(2, 1, 0)))
    change = np.linalg.inv(volume.affine) @ grid.affine
    transform = sitk.AffineTransform(change[:3, :3].ravel().tolist(), change[:3, 3].tolist())
    moved = sitk.Resample(image, reference, transform, _INTERPOLATORS[interpolation], float(fill))
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
