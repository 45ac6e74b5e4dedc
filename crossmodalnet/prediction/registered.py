"""A patient's MR on the CT's grid, and a label map of the CT taken back to the MR's: in processes of their own."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from crossmodalnet.cropping.atlas import Atlas
from crossmodalnet.cropping.heart_box import FoundHeart, find_heart
from crossmodalnet.imaging.downsample import coarse_grid
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.registration.align import AlignSettings, align, bring_image
from crossmodalnet.registration.quality import Quality
from crossmodalnet.registration.syn import Transform, warp

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


@dataclass(frozen=True)
class BackWork:
    """A label map on the CT's grid to be taken to the MR's.

    Attributes:
        labels: class indices, of the CT's grid the part that has any.
        grid: grid of the MR.
        transform: transform that brought the MR to the CT.
    """

    labels: Volume
    grid: Grid
    transform: Transform


def labels_on_mr(work: BackWork) -> Volume:
    """Bring class indices from the CT's grid to the MR's by the inverse of the transform.

    ANTs takes a label map through a transform voxel by voxel and label by label, so only that part of the MR's grid is
    handed to it where labels can come to lie; all others are 0.
    """
    files = work.transform.inverse_files
    moved = np.zeros(work.grid.shape, work.labels.data.dtype)
    whole = Volume(moved, work.grid.affine)
    near = _near(work.labels.grid)
    coarse = warp(near, coarse_grid(work.grid, _COARSE_MM), files, "linear", inverted=True)
    found = np.array(np.nonzero(coarse.data))
    if not found.size:
        return whole
    ends = np.stack([found.min(axis=1) - 1, found.max(axis=1) + 1], axis=1)
    index = work.grid.to_index(coarse.grid.to_world(np.array(list(product(*ends))).T))
    part = whole.part(index.min(axis=1), index.max(axis=1) + 1)
    part.data[:] = warp(work.labels, part.grid, files, "nearest", inverted=True).data
    return whole


def _near(grid: Grid) -> Volume:
    """Ones over a grid and, so that no coarse sample misses what its voxels reach, a margin around it."""
    covering = coarse_grid(grid, _COARSE_MM)
    margin = 3
    affine = covering.affine.copy()
    affine[:3, 3] = covering.to_world(np.full((3, 1), -margin))[:, 0]
    i, j, k = (n + 2 * margin for n in covering.shape)
    return Volume(np.ones((i, j, k), np.float32), affine)
