"""What prediction asks of ANTs: the MR on the CT's grid, the heart's box, a label map taken back to the MR's grid."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossmodalnet.imaging.resample import coarse_grid
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid, Volume, corners_of
from crossmodalnet.registration.align import AlignSettings, align, bring_image
from crossmodalnet.registration.ants import Transform, warp
from crossmodalnet.registration.mapping import labelled_part
from crossmodalnet.registration.quality import Quality
from crossmodalnet.roi.atlas import Atlas
from crossmodalnet.roi.box import FoundHeart, find_heart

# Where labels can come to lie is looked for in steps of this, mm.
_COARSE_MM = 4.0


@dataclass(frozen=True)
class RegisterWork:
    """An MR to register to a CT; the files of the transform go to `folder`, which exists."""

    ct: Volume
    mr: Volume
    settings: AlignSettings
    folder: Path


@dataclass(frozen=True)
class Registered:
    """An MR that lies on the CT's grid.

    Attributes:
        mr: MR on the CT's grid, float32.
        transform: transform that brought it there.
        quality: quality of the transform.
    """

    mr: Volume
    transform: Transform
    quality: Quality


def register_scans(work: RegisterWork) -> Registered:
    """Register, and warp the MR, as stage `register` does.

    Raises:
        RuntimeError: every start failed; says how.
    """
    found = align(work.ct, work.mr, work.settings, work.folder)
    if found.transform is None or found.quality is None:
        raise RuntimeError(f"the MR cannot be registered to the CT: {'; '.join(found.problems)}")
    moved = bring_image(work.mr, work.ct.grid, found.transform, work.settings)
    return Registered(moved, found.transform, found.quality)


@dataclass(frozen=True)
class BoxWork:
    """An image in which atlases of CT find the heart."""

    image: Volume
    modality: Modality
    atlases: tuple[Atlas, ...]
    spacing_mm: float


def find_box(work: BoxWork) -> FoundHeart:
    """Find the heart, as stage `crop` does, and in an MR as stage `target` does."""
    return find_heart(
        work.image, work.atlases, work.spacing_mm,
        modality=work.modality,
        initialisation="centre_of_mass" if work.modality is Modality.CT else "search",
    )  # fmt: skip


def labels_on_mr(labels: Volume, grid: Grid, transform: Transform) -> Volume:
    """Bring class indices from the CT's grid to the MR's by the inverse of the transform.

    ANTs takes a label map through a transform voxel by voxel and label by label, so only that part of the MR's grid is
    handed to it where labels can come to lie. What it does here draws nothing at random and needs no process.

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
    coarse = warp(
        _near(part.grid), coarse_grid(grid, _COARSE_MM), transform.inverse_files, "linear", inverted=True
    )
    found = np.array(np.nonzero(coarse.data))
    if not found.size:
        return whole
    corners = corners_of(found.min(axis=1) - 1, found.max(axis=1) + 1)
    low, high = grid.reach(coarse.grid.to_world(corners))
    reached = whole.part(low, high + 1)
    reached.data[:] = warp(part, reached.grid, transform.inverse_files, "nearest", inverted=True).data
    return whole


def _near(grid: Grid) -> Volume:
    """Ones over a grid and, so that no coarse sample misses what its voxels reach, a margin around it."""
    covering = coarse_grid(grid, _COARSE_MM)
    margin = 3
    affine = covering.affine.copy()
    affine[:3, 3] = covering.to_world(np.full((3, 1), -margin))[:, 0]
    i, j, k = (n + 2 * margin for n in covering.shape)
    return Volume(np.ones((i, j, k), np.float32), affine)
