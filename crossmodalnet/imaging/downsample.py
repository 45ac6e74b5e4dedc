"""Sampling onto coarser grids without aliasing: images are smoothed first, label maps by class."""

import math

import numpy as np
from scipy import ndimage

from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.volume import Grid, Volume

# Up to this ratio of spacings, linear interpolation smooths as much as averaging over the new voxel would.
_LINEAR_SUFFICES = 1.5


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
    """Sample an image at an isotropic spacing, same axes and field of view."""
    return sample_image(volume, coarse_grid(volume.grid, spacing_mm), float(volume.data.min()))


def sample_image(volume: Volume, grid: Grid, fill: float) -> Volume:
    """Sample an image at the voxel centres of `grid`, smoothed along axes that become coarser.

    Args:
        volume: image.
        grid: grid to sample at, isotropic.
        fill: value outside the volume's field of view.

    Returns:
        float32 `(i, j, k)` of the grid.
    """
    part = _near(volume, grid)
    smooth = _smoothed(part.data.astype(np.float32), part.spacing_mm, min(grid.spacing_mm))
    return resample(Volume(smooth, part.affine), grid, "linear", fill)


def sample_labels(labels: Volume, grid: Grid) -> Volume:
    """Sample a label map at the voxel centres of `grid`: the class that fills most of each voxel.

    Args:
        labels: class indices.
        grid: grid to sample at, isotropic.

    Returns:
        uint8 `(i, j, k)` of the grid; background outside the field of view.
    """
    part = _near(labels, grid)
    best = np.full(grid.shape, -1.0, np.float32)
    winner = np.zeros(grid.shape, np.uint8)
    for index in np.union1d([0], np.unique(part.data)):
        mask = _smoothed((part.data == index).astype(np.float32), part.spacing_mm, min(grid.spacing_mm))
        share = resample(Volume(mask, part.affine), grid, "linear", float(index == 0)).data
        winner[share > best] = index
        best = np.maximum(best, share)
    return Volume(winner, grid.affine)


def _smoothed(
    data: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    native_mm: tuple[float, float, float],
    target_mm: float,
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Smooth by a Gaussian whose variance is what box averages over new and native voxels differ by."""
    sigma = [
        math.sqrt((target_mm**2 - s**2) / 12) / s if target_mm > _LINEAR_SUFFICES * s else 0.0
        for s in native_mm
    ]
    if not any(sigma):
        return data
    return np.asarray(ndimage.gaussian_filter(data, sigma, mode="nearest", truncate=3.0), np.float32)


def _near(volume: Volume, grid: Grid) -> Volume:
    """Cut a volume down to what samples on `grid` can see; a margin of two voxels of either grid."""
    corners = np.array(np.meshgrid(*[(-2, n + 1) for n in grid.shape])).reshape(3, -1)
    indices = volume.grid.to_index(grid.to_world(corners))
    shape = np.array(volume.data.shape)
    low = np.clip(np.floor(indices.min(axis=1)).astype(int) - 2, 0, shape - 1)
    high = np.clip(np.ceil(indices.max(axis=1)).astype(int) + 3, low + 1, shape)
    affine = volume.affine.copy()
    affine[:3, 3] = volume.grid.to_world(low[:, None])[:, 0]
    i, j, k = (slice(a, b) for a, b in zip(low, high, strict=True))
    return Volume(volume.data[i, j, k], affine)
