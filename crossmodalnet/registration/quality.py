"""How good a registration is: mutual information, deformation, views; overlap of labels where there are any."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.field_file import read_field
from crossmodalnet.registration.initialise import write_translation
from crossmodalnet.registration.syn import Transform, similarity, warp


@dataclass(frozen=True)
class Quality:
    """Quality of one registration, measured on the working grid.

    Attributes:
        mi_before: mutual information with the centres of mass aligned, nats.
        mi_after: mutual information after registration, nats.
        negative_jacobian_share: share of voxels that the deformable part folds, 0 to 1.
        largest_displacement_mm: longest vector of the deformable part.
        inverse_error_mm: mean distance from a point to where the deformable part and then its inverse take it.
        shared_view: share of the smaller field of view that the other one shares after registration, 0 to 1.
    """

    mi_before: float
    mi_after: float
    negative_jacobian_share: float
    largest_displacement_mm: float
    inverse_error_mm: float = 0.0
    shared_view: float = 1.0


def measure(fixed: Volume, moving: Volume, transform: Transform, folder: Path) -> Quality:
    """Measure a registration of prepared images (values 0 to 1); `folder` takes one small file."""
    centres = folder / "centres.mat"
    write_translation(fixed, moving, "centre_of_mass", centres)
    before, after = (similarity(fixed, moving, files) for files in ([str(centres)], transform.files))
    view = shared_view(fixed, moving, transform)
    if transform.warp is None or transform.inverse_warp is None:
        return Quality(before, after, 0.0, 0.0, 0.0, view)
    folded, largest = deformation(transform.warp)
    error = inverse_error_mm(transform.warp, transform.inverse_warp)
    return Quality(before, after, folded, largest, error, view)


def shared_view(fixed: Volume, moving: Volume, transform: Transform) -> float:
    """Measure which share of the smaller field of view the other one shares after registration, 0 to 1."""
    ones = Volume(np.ones_like(moving.data), moving.affine)
    seen = float((warp(ones, fixed.grid, transform.files, "linear").data > 0.5).mean())
    volumes_mm3 = [image.data.size * abs(np.linalg.det(image.affine[:3, :3])) for image in (fixed, moving)]
    return float(min(1.0, seen * volumes_mm3[0] / min(volumes_mm3)))


def inverse_error_mm(path: Path, inverse: Path) -> float:
    """Measure how far a displacement field and its inverse on the same grid miss each other: mean distance, mm.

    Points that the field takes out of the grid are left out.

    Args:
        path: NIfTI `(i, j, k, 1, 3)` as in `deformation`.
        inverse: path of the inverse field, likewise.
    """
    stored, affine = read_field(path)
    forward, back = stored.astype(np.float64), read_field(inverse)[0].astype(np.float64)
    to_index = np.linalg.inv(affine[:3, :3])
    places = np.indices(forward.shape[:3]) + np.moveaxis(forward @ to_index.T, -1, 0)
    limits = np.array(forward.shape[:3])[:, None, None, None] - 1
    inside = ((places >= 0) & (places <= limits)).all(axis=0)
    if not inside.any():
        return 0.0
    returned = [
        ndimage.map_coordinates(back[..., axis], places[:, inside], order=1, mode="nearest")
        for axis in range(3)
    ]
    return float(np.linalg.norm(forward[inside] + np.stack(returned, axis=-1), axis=-1).mean())


def deformation(path: Path) -> tuple[float, float]:
    """Measure a displacement field: share of folded voxels (Jacobian at most 0), longest vector in mm.

    Args:
        path: NIfTI `(i, j, k, 1, 3)`, ITK's LPS vectors in mm, as ANTs writes it.
    """
    stored, affine = read_field(path)
    field = stored.astype(np.float64)
    per_index = np.stack(np.gradient(field, axis=(0, 1, 2)), axis=-1)  # (i, j, k, 3, 3)
    jacobian = np.eye(3) + per_index @ np.linalg.inv(affine[:3, :3])
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
