"""Resample volumes with SimpleITK, without aliasing; results do not depend on storage order."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from crossmodalnet.imaging.geometry import (
    WORLD,
    Extent,
    class_extents,
    covering_grid,
    is_sheared,
    reoriented,
    shear_degrees,
)
from crossmodalnet.imaging.volume import RAS_TO_LPS, Grid, Volume

Interpolation = Literal["linear", "nearest"]
_INTERPOLATORS = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}
# Below this shift, interpolation changes nothing (the position tolerance is larger).
_NOTHING_MOVES_MM = 1e-6
# Up to this ratio of spacings, linear interpolation smooths as much as averaging.
_LINEAR_SUFFICES = 1.5


def to_sitk(volume: Volume) -> sitk.Image:
    """Convert a volume to SimpleITK; ValueError for a sheared one (see `straightened`)."""
    if is_sheared(volume.grid):
        angle = shear_degrees(volume.grid)
        raise ValueError(
            f"axes must be at right angles, got ones that are {angle:.1f} degrees off: straighten it first"
        )
    image = _image_of(volume.data)
    _set_geometry(image, volume.grid)
    return image


def resample(volume: Volume, grid: Grid, interpolation: Interpolation, fill: float = 0.0) -> Volume:
    """Sample a volume at the voxel centres of `grid`, `fill` outside; either may be sheared.

    >>> fine = Volume(np.arange(8, dtype=np.float32).reshape(1, 1, 8), np.eye(4))
    >>> coarse = Grid((1, 1, 4), np.diag([1.0, 1.0, 2.0, 1.0]))
    >>> resample(fine, coarse, "linear").data.ravel().tolist()
    [0.0, 2.0, 4.0, 6.0]
    """
    if volume.grid.shape == grid.shape and volume.grid.largest_shift_mm(grid) <= _NOTHING_MOVES_MM:
        return Volume(volume.data, grid.affine)
    reference = sitk.Image([int(n) for n in grid.shape], sitk.sitkUInt8)
    if is_sheared(volume.grid) or is_sheared(grid):
        # In voxel indices, because ITK requires right angles; the affines become the transform.
        image = _image_of(volume.data)
        change = np.linalg.inv(volume.affine) @ grid.affine
        transform = sitk.AffineTransform(change[:3, :3].ravel().tolist(), change[:3, 3].tolist())
    else:
        image, transform = to_sitk(volume), sitk.Transform()
        _set_geometry(reference, grid)
    moved = sitk.Resample(image, reference, transform, _INTERPOLATORS[interpolation], float(fill))
    return Volume(_data_of(moved), grid.affine)


def straightened(volume: Volume, interpolation: Interpolation, fill: float = 0.0) -> Volume:
    """Resample a sheared volume to a right-angled grid that covers it; return others unchanged."""
    if not is_sheared(volume.grid):
        return volume
    return resample(volume, covering_grid(volume.grid), interpolation, fill)


def _image_of(data: NDArray[Any]) -> sitk.Image:
    return sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0)))


def _data_of(image: sitk.Image) -> NDArray[Any]:
    return np.asarray(sitk.GetArrayFromImage(image).transpose(2, 1, 0))


def _set_geometry(image: sitk.Image, grid: Grid) -> None:
    affine = RAS_TO_LPS @ grid.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    # ITK rejects float32 directions, which are not exactly orthonormal.
    u, _, v = np.linalg.svd(affine[:3, :3] / spacing)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((u @ v).ravel().tolist())


def coarse_grid(grid: Grid, spacing_mm: float) -> Grid:
    """Lay an isotropic grid over the field of view of `grid`, same axes and centre."""
    native = np.array(grid.spacing_mm)
    shape = [max(1, math.ceil(n * s / spacing_mm - 1e-6)) for n, s in zip(grid.shape, native, strict=True)]
    affine = grid.affine.copy()
    affine[:3, :3] *= spacing_mm / native
    centre = grid.to_world((np.array(grid.shape)[:, None] - 1) / 2)[:, 0]
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid((shape[0], shape[1], shape[2]), affine)


def coarsen(volume: Volume, spacing_mm: float) -> Volume:
    """Sample an image at an isotropic spacing, same field of view, axes turned to RAS.

    >>> coarsen(Volume(np.zeros((4, 6, 8), np.float32), np.diag([1.0, -1.0, 1.0, 1.0])), 2.0).affine.tolist()[1]
    [0.0, 2.0, 0.0, -4.5]
    """
    turned = reoriented(volume, WORLD)
    return sample_image(turned, coarse_grid(turned.grid, spacing_mm), float(volume.data.min()))


def sample_image(volume: Volume, grid: Grid, fill: float) -> Volume:
    """Sample an image on an isotropic `grid`, smoothed along axes that become coarser; float32."""
    part = _near(volume, grid)
    return resample(_averaged(part, min(grid.spacing_mm)), grid, "linear", fill)


def sample_labels(labels: Volume, grid: Grid) -> Volume:
    """Sample class indices on an isotropic `grid`, uint8: the class that fills most of each voxel."""
    target_mm = min(grid.spacing_mm)
    near = _near(labels, grid)
    extents = class_extents(near.data)
    # For speed, each structure is averaged in its own extent, the background around all of them.
    best = _share(_around(near, list(extents.values()), target_mm), 0, grid)
    winner = np.zeros(grid.shape, np.uint8)
    for index, extent in extents.items():
        share = _share(_around(near, [extent], target_mm), index, grid)
        winner[share > best] = index
        best = np.maximum(best, share)
    return Volume(winner, grid.affine)


def _share(labels: Volume, index: int, grid: Grid) -> NDArray[np.float32]:
    """Return the share of a class in each voxel of `grid`; background outside the label map."""
    mask = _averaged(Volume(labels.data == index, labels.affine), min(grid.spacing_mm))
    return np.asarray(resample(mask, grid, "linear", float(index == 0)).data, np.float32)


def _averaged(volume: Volume, target_mm: float) -> Volume:
    """Approximate box averages over voxels of `target_mm`: bins first, because a Gaussian is slow."""
    binned = _binned(volume, _bins(volume.grid, target_mm))
    data = binned.data.astype(np.float32)
    # Variance of a box average over new voxels minus that over present ones.
    sigma = [
        math.sqrt((target_mm**2 - s**2) / 12) / s if target_mm > _LINEAR_SUFFICES * s else 0.0
        for s in binned.spacing_mm
    ]
    if any(sigma):
        data = np.asarray(ndimage.gaussian_filter(data, sigma, mode="nearest", truncate=3.0), np.float32)
    return Volume(data, binned.affine)


def _bins(grid: Grid, target_mm: float) -> NDArray[np.int_]:
    """Return the voxels per bin along each axis, at most half as long as the new voxels."""
    return np.array([max(1, int(target_mm / (2 * spacing))) for spacing in grid.spacing_mm])


def _binned(volume: Volume, bins: NDArray[np.int_]) -> Volume:
    if (bins == 1).all():
        return volume
    # The transpose of a NIfTI array has ITK's memory order.
    data = volume.data.transpose(2, 1, 0)
    # ITK drops the last voxels if they do not fill a bin.
    missing = [(0, -n % num) for n, num in zip(data.shape, bins[::-1].tolist(), strict=True)]
    image = sitk.GetImageFromArray(np.pad(data, missing, mode="edge").astype(np.float32, copy=False))
    affine = volume.affine.copy()
    affine[:3, :3] *= bins
    affine[:3, 3] = volume.grid.to_world((bins[:, None] - 1) / 2)[:, 0]
    return Volume(_data_of(sitk.BinShrink(image, bins.tolist())), affine)


def _around(labels: Volume, extents: Sequence[Extent], target_mm: float) -> Volume:
    """Cut a label map to extents plus the reach of averages; keep it whole without extents."""
    if not extents:
        return labels
    # The Gaussian's three standard deviations, less than a new voxel, and a neighbour to interpolate.
    margin = 3 * target_mm / np.array(labels.spacing_mm) + 2 * _bins(labels.grid, target_mm)
    low = np.min([[side.start for side in extent] for extent in extents], axis=0)
    high = np.max([[side.stop for side in extent] for extent in extents], axis=0)
    return _from_a_bin(labels, low - margin, high + margin, target_mm)


def _near(volume: Volume, grid: Grid) -> Volume:
    """Turn a volume to world axes and cut it to the voxels near `grid`, two voxels of margin included."""
    volume = reoriented(volume, WORLD)
    corners = np.array(np.meshgrid(*[(-2, n + 1) for n in grid.shape])).reshape(3, -1)
    low, high = volume.grid.reach(grid.to_world(corners))
    return _from_a_bin(volume, low - 2, high + 2, min(grid.spacing_mm))


def _from_a_bin(volume: Volume, low: NDArray[Any], high: NDArray[Any], target_mm: float) -> Volume:
    """Cut out the voxels from index `low` to `high`, `(3,)`, aligned to the bins of the whole volume."""
    bins = _bins(volume.grid, target_mm)
    return volume.part(np.floor(low / bins) * bins, high + bins)
