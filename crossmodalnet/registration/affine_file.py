"""Affine maps between worlds as files of ANTs, and back as matrices."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.processes import plain_folder

# ITK's world is LPS+, ours RAS+; the change is its own inverse.
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_affine(matrix: NDArray[np.float64], path: Path) -> None:
    """Write a map from the fixed to the moving image's world as a transform file of ANTs.

    Args:
        matrix: 4x4, RAS mm.
        path: `.mat` file.
    """
    import ants

    flipped = _FLIP @ matrix @ _FLIP
    transform = ants.new_ants_transform(
        dimension=3,
        transform_type="AffineTransform",
        parameters=[*flipped[:3, :3].ravel(), *flipped[:3, 3]],
        fixed_parameters=[0.0, 0.0, 0.0],
    )
    with plain_folder(path.parent) as folder:
        ants.write_transform(transform, str(folder / path.name))


def read_affine(path: Path) -> NDArray[np.float64]:
    """Read a linear transform of ANTs: 4x4, RAS mm, from the fixed to the moving image's world."""
    import ants

    with plain_folder(path.parent) as folder:
        transform = ants.read_transform(str(folder / path.name))
    numbers = np.array(transform.parameters, np.float64)
    centre = np.array(transform.fixed_parameters, np.float64)[:3]
    matrix = np.eye(4)
    matrix[:3, :3] = numbers[:9].reshape(3, 3)
    matrix[:3, 3] = numbers[9:12] + centre - matrix[:3, :3] @ centre
    return np.asarray(_FLIP @ matrix @ _FLIP, np.float64)
