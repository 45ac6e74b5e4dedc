"""Register the MR of a new patient to the CT, and bring label maps back to the MR's grid."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from crossmodalnet.imaging.resample import coarse_grid
from crossmodalnet.imaging.volume import Grid, Volume, corners_of
from crossmodalnet.registration import make_registration
from crossmodalnet.registration.ants import Transform, warp
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.registration.mapping import labelled_part
from crossmodalnet.registration.quality import Quality, RegistrationError

# Spacing at which the extent of labels on the MR's grid is searched, mm.
_COARSE_MM = 4.0


class Registered(NamedTuple):
    """An MR on the CT's grid (float32), the transform that brought it there, and the quality of the transform."""

    mr: Volume
    transform: Transform
    quality: Quality


def register_scans(ct: Volume, mr: Volume, config: RegistrationConfig, folder: Path) -> Registered:
    """Register the MR to the CT and resample it to the CT's grid, as stage `register` does.

    Args:
        ct: CT in HU.
        mr: MR.
        config: registration.
        folder: existing folder for the files of the transform.

    Raises:
        RuntimeError: every start failed; says how.
    """
    registration = make_registration(config)
    try:
        alignment = registration.register(ct, mr, folder)
    except RegistrationError as error:
        raise RuntimeError(f"the MR cannot be registered to the CT: {error}") from error
    moved = registration.warp_image(mr, ct.grid, alignment.transform)
    return Registered(moved, alignment.transform, alignment.quality)


def labels_on_mr(labels: Volume, grid: Grid, transform: Transform) -> Volume:
    """Resample class indices from the CT's grid to the MR's by the inverse of the transform.

    ANTs warps a label map voxel by voxel and label by label, so it gets only the part of the MR's grid that labels can
    reach.

    Args:
        labels: class indices.
        grid: grid of the MR.
        transform: transform that brought the MR to the CT.

    Returns:
        Class indices `(i, j, k)` of the grid; 0 where the CT has no label.
    """
    whole = Volume(np.zeros(grid.shape, labels.data.dtype), grid.affine)
    part = labelled_part(labels)
    if part is None:
        return whole
    # Ones over the labelled part, with a margin so that no coarse sample misses it.
    covering, margin = coarse_grid(part.grid, _COARSE_MM), 3
    affine = covering.affine.copy()
    affine[:3, 3] = covering.to_world(np.full((3, 1), -margin))[:, 0]
    i, j, k = (n + 2 * margin for n in covering.shape)
    ones = Volume(np.ones((i, j, k), np.float32), affine)
    coarse = warp(ones, coarse_grid(grid, _COARSE_MM), transform.inverse_files, "linear", inverted=True)
    reached = np.array(np.nonzero(coarse.data))
    if not reached.size:
        return whole
    corners = corners_of(reached.min(axis=1) - 1, reached.max(axis=1) + 1)
    low, high = grid.reach(coarse.grid.to_world(corners))
    target = whole.part(low, high + 1)
    target.data[:] = warp(part, target.grid, transform.inverse_files, "nearest", inverted=True).data
    return whole
