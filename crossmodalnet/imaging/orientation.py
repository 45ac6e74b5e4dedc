"""One lattice, its axes in another order or direction: what two programs make of one scan."""

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.volume import Grid, Volume

# Axes to the patient's right, front and head.
WORLD = Grid((1, 1, 1), np.eye(4))


def reoriented_grid(grid: Grid, like: Grid) -> Grid:
    """Turn and reverse the axes of a grid so that they run as those of another one; the lattice stays where it is.

    >>> flipped = Grid((4, 5, 6), np.diag([-1.0, 1.0, 1.0, 1.0]))
    >>> reoriented_grid(flipped, Grid((4, 5, 6), np.eye(4))).affine[0].tolist()
    [1.0, 0.0, 0.0, -3.0]
    """
    change = _change(grid, like)
    affine = grid.affine @ nib.orientations.inv_ornt_aff(change, grid.shape)
    shape = [0, 0, 0]
    for axis, (to, _) in enumerate(change):
        shape[int(to)] = grid.shape[axis]
    return Grid((shape[0], shape[1], shape[2]), np.asarray(affine, np.float64))


def reoriented(volume: Volume, like: Grid) -> Volume:
    """Turn and reverse the axes of a volume so that they run as those of a grid; no voxel moves in the world."""
    data = nib.orientations.apply_orientation(volume.data, _change(volume.grid, like))  # a view
    return Volume(data, reoriented_grid(volume.grid, like).affine)


def _change(grid: Grid, like: Grid) -> NDArray[np.float64]:
    """Give, per axis of the grid, the axis of the other one that it becomes and its direction, as nibabel has it."""
    own, other = (nib.orientations.io_orientation(g.affine) for g in (grid, like))
    return np.asarray(nib.orientations.ornt_transform(own, other), np.float64)
