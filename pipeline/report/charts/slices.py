"""Where to cut a heart for pictures: its box, the most telling slices, and their grids."""

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import Grid, Volume

SEARCH_SPACING_MM = 2.0


def heart_box(label: Volume, margin_mm: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the world-aligned box around all labelled voxels (around everything if none is).

    Returns:
        Lowest and highest corner, `(3,)` each, RAS mm.
    """
    spans = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(label.data.any(axis=others))
        spans.append((filled[0], filled[-1]) if len(filled) else (0, label.data.shape[axis] - 1))
    corners = label.grid.to_world(np.array(np.meshgrid(*spans)).reshape(3, -1))
    return corners.min(axis=1) - margin_mm, corners.max(axis=1) + margin_mm


def best_slices(label: Volume, low_mm: NDArray[np.float64], high_mm: NDArray[np.float64]) -> list[float]:
    """Choose the slice per world axis that shows most structures, then most labelled tissue.

    Returns:
        World x of the sagittal, y of the coronal and z of the axial slice, mm.
    """
    affine = np.diag([SEARCH_SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = low_mm
    i, j, k = (int(n) + 1 for n in (high_mm - low_mm) // SEARCH_SPACING_MM)
    classes = resample(label, Grid((i, j, k), affine), "nearest").data
    chosen = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        counts = np.stack([(classes == s.index).sum(axis=others) for s in STRUCTURES])
        score = (counts > 0).sum(axis=0) * classes.size + counts.sum(axis=0)
        chosen.append(float(low_mm[axis] + SEARCH_SPACING_MM * int(score.argmax())))
    return chosen


def slice_grid(
    low_mm: NDArray[np.float64], high_mm: NDArray[np.float64], axis: int, place_mm: float, pixel_mm: float
) -> Grid:
    """Lay square pixels over the box in the plane across a world axis; one voxel along that axis."""
    affine = np.diag([pixel_mm] * 3 + [1.0])
    affine[:3, 3] = low_mm
    affine[axis, 3] = place_mm
    shape = [max(1, round(float(n))) for n in (high_mm - low_mm) / pixel_mm]
    shape[axis] = 1
    return Grid((shape[0], shape[1], shape[2]), affine)
