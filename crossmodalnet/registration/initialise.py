"""Where a registration starts: a translation that aligns centres."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.volume import Volume
from crossmodalnet.processes import plain_folder

Centre = Literal["centre_of_mass", "geometric_centre"]
# ITK's world is LPS+, ours RAS+.
_TO_LPS = np.array([-1.0, -1.0, 1.0])


def write_translation(fixed: Volume, moving: Volume, centre: Centre, path: Path, up_mm: float = 0.0) -> None:
    """Write the translation of the fixed image's centre to the moving one's, as a transform file of ANTs.

    Args:
        fixed: prepared image, background 0.
        moving: prepared image, background 0.
        centre: centre of mass, or of the grid.
        path: `.mat` file.
        up_mm: added towards the head.
    """
    import ants

    weighted = centre == "centre_of_mass"
    origin = _centre_mm(fixed, weighted)
    target = _centre_mm(moving, weighted) + np.array([0.0, 0.0, up_mm])
    transform = ants.new_ants_transform(
        dimension=3,
        transform_type="AffineTransform",
        parameters=[*np.eye(3).ravel(), *(_TO_LPS * (target - origin))],
        fixed_parameters=list(_TO_LPS * origin),
    )
    with plain_folder(path.parent) as folder:
        ants.write_transform(transform, str(folder / path.name))


def _centre_mm(volume: Volume, weighted: bool) -> NDArray[np.float64]:
    """Centre of mass, or of the grid where not `weighted` or empty; `(3,)` in RAS mm."""
    index = (np.array(volume.data.shape) - 1) / 2
    total = float(volume.data.sum(dtype=np.float64))
    if weighted and total > 0:
        sums = [volume.data.sum(axis=axes, dtype=np.float64) for axes in ((1, 2), (0, 2), (0, 1))]
        index = np.array([np.arange(len(s)) @ s / total for s in sums])
    return volume.grid.to_world(index[:, None])[:, 0]
