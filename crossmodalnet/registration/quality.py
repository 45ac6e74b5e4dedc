"""How good a registration is: mutual information and the deformation; overlap of labels where there are any."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.initialise import write_translation
from crossmodalnet.registration.syn import Transform, similarity


@dataclass(frozen=True)
class Quality:
    """Quality of one registration, measured on the working grid.

    Attributes:
        mi_before: mutual information with the centres of mass aligned, nats.
        mi_after: mutual information after registration, nats.
        negative_jacobian_share: share of voxels that the deformable part folds, 0 to 1.
        largest_displacement_mm: longest vector of the deformable part.
    """

    mi_before: float
    mi_after: float
    negative_jacobian_share: float
    largest_displacement_mm: float


def measure(fixed: Volume, moving: Volume, transform: Transform, folder: Path) -> Quality:
    """Measure a registration of prepared images (values 0 to 1); `folder` takes one small file."""
    centres = folder / "centres.mat"
    write_translation(fixed, moving, "centre_of_mass", centres)
    before, after = (similarity(fixed, moving, files) for files in ([str(centres)], transform.files))
    folded, largest = (0.0, 0.0) if transform.warp is None else deformation(transform.warp)
    return Quality(before, after, folded, largest)


def deformation(path: Path) -> tuple[float, float]:
    """Measure a displacement field: share of folded voxels (Jacobian at most 0), longest vector in mm.

    Args:
        path: NIfTI `(i, j, k, 1, 3)`, ITK's LPS vectors in mm, as ANTs writes it.
    """
    image = nib.load(path)
    field = np.asarray(image.dataobj, np.float64)[:, :, :, 0] * (-1, -1, 1)  # (i, j, k, 3), RAS
    per_index = np.stack(np.gradient(field, axis=(0, 1, 2)), axis=-1)  # (i, j, k, 3, 3)
    jacobian = np.eye(3) + per_index @ np.linalg.inv(np.asarray(image.affine)[:3, :3])
    folded = np.linalg.det(jacobian) <= 0
    return float(folded.mean()), float(np.linalg.norm(field, axis=-1).max())


def label_dice(warped: Volume, fixed: Volume) -> float:
    """Mean Dice over the structures that occur in either label map, 0 where none does.

    Apart from `crossmodalnet.metrics`, so that a change there registers nothing anew.

    Args:
        warped: class indices.
        fixed: class indices on the same grid.
    """
    scores = []
    for structure in STRUCTURES:
        a, b = warped.data == structure.index, fixed.data == structure.index
        total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
        if total:
            scores.append(2 * int(np.count_nonzero(a & b)) / total)
    return float(np.mean(scores or [0.0]))
