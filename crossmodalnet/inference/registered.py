"""Register the MR of a new patient to the CT, and resample label maps to the MR's grid."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from crossmodalnet.imaging.intensity import mutual_information
from crossmodalnet.imaging.resample import coarse_grid, resample
from crossmodalnet.imaging.volume import Grid, Volume, corners_of
from crossmodalnet.networks.common.card import LoadedModel
from crossmodalnet.registration import make_registration
from crossmodalnet.registration.ants import (
    Transform,
    is_far_larger,
    linear,
    prepare_ct,
    prepare_mr,
    read_affine,
    warp,
    write_affine,
)
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.registration.exhaustive import best_candidates
from crossmodalnet.registration.mapping import labelled_part
from crossmodalnet.registration.quality import Quality, RegistrationError
from crossmodalnet.roi.box import FAULTS, Box

# Spacing of the search for the extent of labels.
_COARSE_MM = 4.0
# Around the heart ROI. In wide CTs of three phantoms, margins of 40 and 60 mm gave a higher Dice than 90 or the whole.
_MARGIN_MM = 50.0
# Mutual information of an MR without a fault of orientation and the CT around the heart: relative to that of the MR as
# it is (13 training pairs at most 0.80, with such a fault at least 1.07), and in nats (training pairs 0.4 and more,
# pairs whose registration failed at most 0.2).
_FAULT_RATIO, _FAULT_NATS = 1.05, 0.2
_SPACING_MM, _SEARCH_MM, _AROUND_MM = 5.0, 16.0, 20.0


class Registered(NamedTuple):
    """An MR on the CT's grid (float32), its transform, that one's quality, and a doubt about it, if any.

    `flipped`: the prepared MR placed in the CT's world by an affine map, as it is (fault "") and without each fault.
    """

    mr: Volume
    transform: Transform
    quality: Quality
    doubt: str = ""
    flipped: tuple[tuple[str, Volume], ...] = ()


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
    flipped = tuple(_flipped(part, mr, alignment.transform.affine, folder))
    return Registered(moved, alignment.transform, alignment.quality, alignment.doubt, flipped)


def _flipped(ct: Volume, mr: Volume, affine: Path, folder: Path) -> Iterator[tuple[str, Volume]]:
    """Yield the MR as it was registered, and coarsely registered without each fault of orientation."""
    fixed, moving = prepare_ct(ct, _SPACING_MM), prepare_mr(mr, _SPACING_MM)
    yield "", Volume(moving.data, np.linalg.inv(read_affine(affine)) @ moving.affine)
    for fault, axes in {"": (), **FAULTS}.items():  # what has no fault is searched for alike
        image = Volume(np.ascontiguousarray(np.flip(moving.data, axes)), moving.affine)
        for number, matrix in enumerate(best_candidates(fixed, image, 2, _SEARCH_MM)):
            start = folder / f"flipped{len(axes)}{number}.mat"
            write_affine(matrix, start)
            with suppress(RuntimeError):  # ANTs fails where nothing fits
                found = read_affine(linear("Affine", fixed, image, (100, 50, 0), start, start.with_suffix("")))
                yield fault, Volume(image.data, np.linalg.inv(found) @ image.affine)


def fault_of_orientation(ct: Volume, registered: Registered, box: Box) -> str:
    """Name the fault without which the MR would fit the CT better around the heart ROI; empty if there is none."""
    part = prepare_ct(ct.around(*box.grown(_AROUND_MM).ends_mm), _SPACING_MM)
    best = dict.fromkeys(("", *FAULTS), 0.0)
    for fault, mr in registered.flipped:
        moved = resample(mr, part.grid, "linear").data
        best[fault] = max(best[fault], mutual_information(part.data.ravel(), moved.ravel()))
    likely = max(best, key=best.__getitem__)
    return likely if best[likely] > max(_FAULT_NATS, _FAULT_RATIO * best[""]) else ""


def network_move(model: LoadedModel, image: Tensor, grid: Grid) -> NDArray[np.float64]:
    """Return the rigid map, 4x4 in world mm, from points of the CT to those that the network laid onto them.

    Those are of the registered MR; `image` `(2, d, h, w)` lies on `grid`. The identity where the network does not align
    or slides a window over the grid, since each window is moved by itself.
    """
    alignment = getattr(model.network, "alignment", None)
    if alignment is None or tuple(image.shape[1:]) != tuple(model.card.patch_size):
        return np.eye(4)
    device = next(model.network.parameters()).device
    found, from_centre = np.eye(4), np.eye(4)
    found[:3] = alignment.transform(image[None].to(device)).double().cpu()[0]
    if (found == np.eye(4)).all():  # the map to the world and back would not be exact
        return found
    from_centre[:3, 3] = (np.array(grid.shape) - 1) / 2
    voxels = grid.affine @ from_centre
    return np.asarray(voxels @ found @ np.linalg.inv(voxels))


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
