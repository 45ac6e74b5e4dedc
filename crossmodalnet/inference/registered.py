"""Register the MR of a new patient to the CT, and resample label maps to the MR's grid."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from crossmodalnet.imaging.resample import coarse_grid
from crossmodalnet.imaging.volume import Grid, Volume, corners_of
from crossmodalnet.registration import make_registration
from crossmodalnet.registration.ants import (
    Transform,
    is_far_larger,
    linear,
    prepare_ct,
    prepare_mr,
    shared_information,
    warp,
    write_affine,
)
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.registration.exhaustive import best_candidates
from crossmodalnet.registration.mapping import labelled_part
from crossmodalnet.registration.quality import Quality, RegistrationError
from crossmodalnet.roi.box import Box

# Spacing of the search for the extent of labels.
_COARSE_MM = 4.0
# Around the heart ROI. In wide CTs of three phantoms, margins of 40 and 60 mm gave a higher Dice than 90 or the whole.
_MARGIN_MM = 50.0
# Faults of orientation, and the world axes along which they flip an MR.
_FAULTS = {"mirrored from left to right": (0,), "turned by 180 degrees about the body's long axis": (0, 1)}
# Spacings at which an MR with and without them is compared with the CT, and of the search before.
_FAULTS_MM = 5.0, 16.0
# Nats; affinely registered training pairs share 0.28 and more, pairs whose registration fails at most 0.12.
_LEAST_INFORMATION = 0.2


class Registered(NamedTuple):
    """An MR on the CT's grid (float32), its transform, that one's quality, and doubts about it and its orientation."""

    mr: Volume
    transform: Transform
    quality: Quality
    doubt: str = ""
    fault: str = ""


def register_scans(ct: Volume, mr: Volume, config: RegistrationConfig, folder: Path, box: Box | None) -> Registered:
    """Register the MR to the CT (HU), if far larger near the heart ROI alone, and resample it; RuntimeError if not."""
    registration = make_registration(config)
    part = ct.around(*box.grown(_MARGIN_MM).ends_mm) if box and is_far_larger(ct, mr) else ct
    try:
        alignment = registration.register(part, mr, folder)
    except RegistrationError as error:
        raise RuntimeError(
            f"the MR cannot be registered to the CT ({error}): do both show the heart, and are their axes right?"
        ) from error
    moved = registration.warp_image(mr, ct.grid, alignment.transform)
    fault = _fault(part, mr, alignment.transform.affine, folder)
    return Registered(moved, alignment.transform, alignment.quality, alignment.doubt, fault)


def _fault(ct: Volume, mr: Volume, affine: Path, folder: Path) -> str:
    """Name the fault of orientation without which the MR would share more information with the CT; empty for none."""
    fixed, moving = prepare_ct(ct, _FAULTS_MM[0]), prepare_mr(mr, _FAULTS_MM[0])
    information = {"": max(_LEAST_INFORMATION, shared_information(fixed, moving, [affine]))}
    for fault, axes in _FAULTS.items():
        flipped = Volume(np.ascontiguousarray(np.flip(moving.data, axes)), moving.affine)
        for number, matrix in enumerate(best_candidates(fixed, flipped, 2, _FAULTS_MM[1])):
            start = folder / f"flipped{len(axes)}{number}.mat"
            write_affine(matrix, start)
            found = linear("Affine", fixed, flipped, (100, 50, 0), start, start.with_suffix(""))
            shared = shared_information(fixed, flipped, [found])
            information[fault] = max(shared, information.get(fault, 0.0))
    return max(information, key=information.__getitem__)


def labels_on_mr(labels: Volume, grid: Grid, transform: Transform) -> Volume:
    """Resample class indices from the CT's grid to the MR's by the inverse transform; 0 elsewhere.

    ANTs is slow on label maps, so only the part of the grid that labels can reach is warped.
    """
    whole = Volume(np.zeros(grid.shape, labels.data.dtype), grid.affine)
    part = labelled_part(labels)
    if part is None:
        return whole
    # The margin ensures that no coarse sample misses the labelled part.
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
