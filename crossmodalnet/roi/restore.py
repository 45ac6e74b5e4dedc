"""Restore a label map on the original grid from class probabilities; keep largest components."""

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from crossmodalnet.imaging.geometry import class_extents
from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.volume import Grid, Volume

# Native voxels restored at once, about 10 bytes each: bounds the memory for fine scans.
SLAB_VOXELS = 2**24


def restore_labels(probabilities: NDArray[np.float32], working: Grid, native: Grid) -> Volume:
    """Interpolate the class probabilities at the native voxels and take the most probable class.

    Interpolated probabilities give finer borders than interpolated labels. Voxels outside the working grid are
    background; a tie goes to the lower class index. `probabilities` are `(num_classes, i, j, k)` on the working grid.

    Raises:
        ValueError: the probabilities are not on the working grid.

    >>> probabilities = np.zeros((8, 2, 2, 2), np.float32)
    >>> probabilities[5] = 1
    >>> working = Grid((2, 2, 2), np.diag([4.0, 4.0, 4.0, 1.0]))
    >>> native = Grid((3, 3, 3), np.diag([2.0, 2.0, 2.0, 1.0]))
    >>> np.unique(restore_labels(probabilities, working, native).data).tolist()
    [5]
    """
    if probabilities.shape[1:] != working.shape:
        raise ValueError(f"probabilities must lie on {working.shape}, got shape {probabilities.shape}")
    labels = np.zeros(native.shape, np.uint8)
    start, stop = _native_box(working, native)
    if (start == stop).any():
        return Volume(labels, native.affine)  # the scan lies outside the working grid
    thickness = max(1, SLAB_VOXELS // int(np.prod((stop - start)[:2])))
    for first in range(start[2], stop[2], thickness):
        low = np.array([start[0], start[1], first])
        high = np.array([stop[0], stop[1], min(first + thickness, stop[2])])
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        labels[box] = _most_probable(probabilities, working, _sub_grid(native, low, high))
    return Volume(labels, native.affine)


def _native_box(working: Grid, native: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the first and last-plus-one native voxel that can lie in the working grid."""
    indices = native.to_index(working.to_world(working.corners(0.5)))
    start = np.clip(np.floor(indices.min(axis=1)), 0, native.shape).astype(np.int64)
    stop = np.clip(np.ceil(indices.max(axis=1)) + 1, start, native.shape).astype(np.int64)
    return start, stop


def _sub_grid(grid: Grid, start: NDArray[np.int64], stop: NDArray[np.int64]) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3:] = grid.to_world(start[:, None])
    i, j, k = (int(n) for n in stop - start)
    return Grid((i, j, k), affine)


def _most_probable(probabilities: NDArray[np.float32], working: Grid, grid: Grid) -> NDArray[np.uint8]:
    labels = np.zeros(grid.shape, np.uint8)
    best = np.full(grid.shape, -np.inf, np.float32)
    for index, probability in enumerate(probabilities):
        outside = 1.0 if index == 0 else 0.0
        sampled = resample(Volume(probability, working.affine), grid, "linear", outside).data
        better = sampled > best
        labels[better] = index
        np.copyto(best, sampled, where=better)
    return labels


def keep_largest_component(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keep the largest component (26 neighbours) of every structure, and all as large, whatever the axes' order."""
    kept = labels.copy()
    for index, extent in class_extents(labels).items():
        mask = labels[extent] == index
        kept[extent][mask & ~_largest(mask)] = 0
    return kept


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    components = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True))
    sizes = np.bincount(components.ravel())
    sizes[0] = 0  # background
    return np.asarray((sizes == sizes.max())[components] & (components > 0), np.bool_)
