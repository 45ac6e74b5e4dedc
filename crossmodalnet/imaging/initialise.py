"""Where a registration starts: a rigid transform that aligns centres, or the best of a coarse search."""

import itertools
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.downsample import coarsen
from crossmodalnet.imaging.similarity import mutual_information
from crossmodalnet.imaging.volume import Volume

Initialisation = Literal["centre_of_mass", "geometric_centre", "search"]
# In the order in which they are tried.
INITIALISATIONS: tuple[Initialisation, ...] = ("centre_of_mass", "geometric_centre", "search")

_SEARCH_SPACING_MM = 8.0
_ANGLES_DEG = (-20.0, 0.0, 20.0)
_SHIFTS_MM = (-40.0, 0.0, 40.0)
# ITK's world is LPS+, ours RAS+.
_FLIP = np.diag([-1.0, -1.0, 1.0])


def write_start(fixed: Volume, moving: Volume, initialisation: Initialisation, path: Path) -> None:
    """Write the start of a registration, a map of fixed points to moving points, as a transform file of ANTs.

    Args:
        fixed: prepared image, values 0 to 1, background 0.
        moving: prepared image, values 0 to 1, background 0.
        initialisation: centres of mass aligned, centres of the grids aligned, or the largest mutual
            information among rotations and head-foot shifts from the aligned centres of mass.
        path: `.mat` file.
    """
    import ants

    rotation, shift = np.eye(3), np.zeros(3)
    if initialisation == "search":
        rotation, shift = _search(fixed, moving)
    weighted = initialisation != "geometric_centre"
    centre, target = _centre_mm(fixed, weighted), _centre_mm(moving, weighted)
    matrix, translation = _FLIP @ rotation @ _FLIP, _FLIP @ (target + shift - centre)
    transform = ants.new_ants_transform(
        dimension=3, transform_type="AffineTransform", parameters=[*matrix.ravel(), *translation],
        fixed_parameters=list(_FLIP @ centre),
    )  # fmt: skip
    ants.write_transform(transform, str(path))


def _search(fixed: Volume, moving: Volume) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the rotation `(3, 3)` and shift `(3,)` mm that raise mutual information most."""
    fixed, moving = coarsen(fixed, _SEARCH_SPACING_MM), coarsen(moving, _SEARCH_SPACING_MM)
    centre, target = _centre_mm(fixed, True), _centre_mm(moving, True)
    points = fixed.grid.to_world(np.indices(fixed.data.shape).reshape(3, -1)) - centre[:, None]
    values = fixed.data.ravel()
    best, found = -1.0, (np.eye(3), np.zeros(3))
    for *angles, up in itertools.product(_ANGLES_DEG, _ANGLES_DEG, _ANGLES_DEG, _SHIFTS_MM):
        rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        shift = np.array([0.0, 0.0, up])
        index = moving.grid.to_index(rotation @ points + (target + shift)[:, None])
        # Outside counts as background: otherwise a small overlap would win.
        moved = ndimage.map_coordinates(moving.data, index, order=1, mode="constant", cval=0.0)
        similarity = mutual_information(values, np.clip(moved, 0, 1))
        if similarity > best:
            best, found = similarity, (rotation, shift)
    return found


def _centre_mm(volume: Volume, weighted: bool) -> NDArray[np.float64]:
    """Centre of mass, or of the grid where not `weighted` or empty; `(3,)` in RAS mm."""
    index = (np.array(volume.data.shape) - 1) / 2
    total = float(volume.data.sum(dtype=np.float64))
    if weighted and total > 0:
        sums = [volume.data.sum(axis=axes, dtype=np.float64) for axes in ((1, 2), (0, 2), (0, 1))]
        index = np.array([np.arange(len(s)) @ s / total for s in sums])
    return volume.grid.to_world(index[:, None])[:, 0]
