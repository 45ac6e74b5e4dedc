"""Find the region of interest with or without the subject's own label, and centre the working grid on it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.geometry import class_extents
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.processes import scratch_folder
from crossmodalnet.registration.ants import prepare, similarity, warp
from crossmodalnet.registration.syn import Start, estimate_affine
from crossmodalnet.roi.atlas import Atlas

# Affine registration of an atlas stops at half resolution.
_ITERATIONS = (100, 50, 0)
# Around an atlas' heart, where the likeness is measured: the lungs, spine and chest wall next to it.
_MARGIN_MM = 20.0
# Mean Dice of the hearts of two atlases: 0.68 to 0.73 in CT and MR of the phantom's test subjects, 0.42 in noise.
MIN_ATLAS_AGREEMENT = 0.6
# Of a second search to count: without a heart, too, atlases find more alike places then, but of a Dice up to 0.38.
_LEAST_AGREEMENT = 0.5
# Likeness of a CT and the atlases, relative to that among atlases.
USUAL_LIKENESS_SHARE = 0.75
# Faults of orientation, and the world axes along which they flip a scan.
FAULTS = {"mirrored from left to right": (0,), "turned by 180 degrees about the body's long axis": (0, 1)}
# Likeness of a CT with such a fault over that among atlases, at most (phantoms of two seeds 0.75, without a fault 0.99
# and more), and of the CT without it over that with it, at least (1.4; without a fault at most 0.7).
_FAULTY_SHARE, _FAULT_RATIO = 0.9, 1.1


@dataclass(frozen=True)
class Box:
    """A box along the world axes (RAS), mm."""

    low_mm: tuple[float, float, float]
    high_mm: tuple[float, float, float]

    def grown(self, margin_mm: float) -> "Box":
        """Add a margin on every side."""
        return _box(np.array(self.low_mm) - margin_mm, np.array(self.high_mm) + margin_mm)

    @property
    def ends_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner, `(3,)` each."""
        return np.array(self.low_mm), np.array(self.high_mm)

    @property
    def size_mm(self) -> tuple[float, float, float]:
        """Edge lengths along x, y, z."""
        x, y, z = (float(b - a) for a, b in zip(self.low_mm, self.high_mm, strict=True))
        return x, y, z


def box_of(mask: Volume) -> Box:
    """Find the smallest box around all non-zero voxels, whole voxels included.

    Raises:
        ValueError: the mask is empty.

    >>> mask = np.zeros((8, 8, 8), np.uint8)
    >>> mask[2:6, 3, 3] = 1
    >>> box_of(Volume(mask, np.diag([2.0, 2.0, 2.0, 1.0]))).size_mm
    (8.0, 2.0, 2.0)
    """
    indices = np.array(np.nonzero(mask.data))
    if not indices.size:
        raise ValueError("the mask of the heart is empty, so it has no box")
    centres = mask.grid.to_world(indices)
    half = np.abs(mask.affine[:3, :3]).sum(axis=1) / 2
    return _box(centres.min(axis=1) - half, centres.max(axis=1) + half)


class RoiEstimate(NamedTuple):
    """A region of interest found by atlases.

    Attributes:
        box: box of the voxels that at least half of the atlases label; if only some found a likely place, of those.
        likeness: mean mutual information of the image and each registered atlas around the atlas' heart, nats.
        agreement: mean Dice between the warped hearts of all pairs of atlases, 0 to 1; 1 for a single atlas.
        fault: fault of orientation without which a CT looks like the atlases; empty if there is none.
    """

    box: Box
    likeness: float
    agreement: float
    fault: str = ""


def find_roi(
    image: Volume,
    atlases: Sequence[Atlas],
    spacing_mm: float,
    *,
    modality: Modality = Modality.CT,
    atlas_modality: Modality = Modality.CT,
    usual: float | None = None,
) -> RoiEstimate:
    """Find the region of interest without a label: register atlases affinely and let their labels vote.

    Deterministic if the environment is as `registration.ants` requires. CT to CT starts from centres of mass; all else,
    and a CT where that finds no usual place, from a slower search. `usual`: likeness among the atlases; else measured.

    Raises:
        ValueError: no atlas, or the atlases agree on no voxel.
        RuntimeError: ANTs failed.
    """
    if not atlases:
        raise ValueError("atlases must hold at least one image with its label map, got none")
    is_plain = modality is atlas_modality is Modality.CT
    fixed = prepare(image, modality, spacing_mm)
    found = [_place(fixed, atlas, "centre_of_mass" if is_plain else "search") for atlas in atlases]
    usual = likeness_among(atlases) if is_plain and usual is None else usual
    fault = _fault(fixed, atlases, _summary(found)[0], usual) if is_plain and usual else ""
    if is_plain and not fault and _is_unusual(found, usual):
        searched = [_place(fixed, atlas, "search") for atlas in atlases]
        best = [max(pair, key=itemgetter(1)) for pair in zip(found, searched, strict=True)]
        # A search fails for single atlases, by chance too: those that find a place as alike as usual then decide.
        alike = [one for one in best if usual is not None and one[1] >= USUAL_LIKENESS_SHARE * usual]
        found = alike or (best if _summary(best)[1] >= _LEAST_AGREEMENT else found)
    votes = sum((share for share, _ in found), np.zeros(fixed.data.shape, np.float32)) / len(found)
    try:
        box = box_of(Volume(votes >= 0.5, fixed.affine))
    except ValueError as error:
        raise ValueError(f"the {len(atlases)} atlases agree on no voxel of the heart") from error
    return RoiEstimate(box, *_summary(found), fault)


def _fault(fixed: Volume, atlases: Sequence[Atlas], likeness: float, usual: float) -> str:
    """Name the fault of orientation without which a CT is as like the atlases as usual; empty if there is none."""
    least = max(USUAL_LIKENESS_SHARE * usual, _FAULT_RATIO * likeness)
    for fault, axes in FAULTS.items() if likeness < _FAULTY_SHARE * usual else ():
        flipped = Volume(np.ascontiguousarray(np.flip(fixed.data, axes)), fixed.affine)
        if np.mean([_place(flipped, atlas, "centre_of_mass")[1] for atlas in atlases]) > least:
            return fault
    return ""


def _place(fixed: Volume, atlas: Atlas, start: Start) -> tuple[NDArray[np.float32], float]:
    """Register an atlas affinely; return its warped heart, shares of voxels, and the likeness around it."""
    with scratch_folder() as folder:
        files = estimate_affine(fixed, atlas.image, _ITERATIONS, start, folder).files
        share = warp(atlas.heart, fixed.grid, files, "linear").data
        return share, _likeness(fixed, atlas, files, share >= 0.5)


def _is_unusual(found: Sequence[tuple[NDArray[np.float32], float]], usual: float | None) -> bool:
    """Check whether atlases disagree, or are less alike than usual."""
    likeness, agreement = _summary(found)
    return agreement < MIN_ATLAS_AGREEMENT or (usual is not None and likeness < USUAL_LIKENESS_SHARE * usual)


def _summary(found: Sequence[tuple[NDArray[np.float32], float]]) -> tuple[float, float]:
    """Return the mean likeness of atlases, and the mean Dice between their hearts; 1 for a single atlas."""
    hearts = [share >= 0.5 for share, _ in found]
    dices = [2 * int((a & b).sum()) / max(1, int(a.sum()) + int(b.sum())) for a, b in combinations(hearts, 2)]
    return float(np.mean([likeness for _, likeness in found])), float(np.mean(dices or 1.0))


def likeness_among(atlases: Sequence[Atlas]) -> float | None:
    """Compute the lowest likeness of an atlas and the next one, nats, as in `RoiEstimate`; None for fewer than two."""
    if len(atlases) < 2:
        return None
    pairs = zip(atlases, [*atlases[1:], atlases[0]], strict=True)
    return min(_place(fixed.image, moving, "centre_of_mass")[1] for fixed, moving in pairs)


def _likeness(fixed: Volume, atlas: Atlas, files: Sequence[str], heart: NDArray[np.bool_]) -> float:
    """Compute the mutual information around an atlas' warped heart, not of air and belly, nats; 0 if out of view."""
    where = np.argwhere(heart)
    if not where.size:
        return 0.0
    margin = _MARGIN_MM / np.array(fixed.spacing_mm)
    return similarity(fixed.part(where.min(axis=0) - margin, where.max(axis=0) + 1 + margin), atlas.image, files)


def working_grid(box: Box, size: tuple[int, int, int], spacing_mm: float) -> Grid:
    """Centre an isotropic grid of `size` voxels along the world axes (RAS) on a box.

    >>> grid = working_grid(Box((0.0, 0.0, 0.0), (80.0, 90.0, 100.0)), (40, 40, 40), spacing_mm=3.0)
    >>> grid.affine[:3, 3].tolist()
    [-18.5, -13.5, -8.5]
    """
    centre = (np.array(box.low_mm) + np.array(box.high_mm)) / 2
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = centre - spacing_mm * (np.array(size) - 1) / 2
    return Grid(size, affine)


def overflow_mm(box: Box, grid: Grid) -> float:
    """Compute by how much the box exceeds the grid along the worst axis; 0 where it fits."""
    spare = [edge - n * s for edge, n, s in zip(box.size_mm, grid.shape, grid.spacing_mm, strict=True)]
    return max(0.0, *spare)


def cut_voxels(labels: Volume, grid: Grid) -> dict[str, int]:
    """Count each structure's native voxels whose centres lie outside `grid`, by abbreviation."""
    counts = dict.fromkeys((structure.abbreviation for structure in STRUCTURES), 0)
    for index, extent in class_extents(labels.data).items():
        start = np.array([side.start for side in extent])[:, None]
        indices = start + np.array(np.nonzero(labels.data[extent] == index))
        position = grid.to_index(labels.grid.to_world(indices))
        outside = ((position < -0.5) | (position > np.array(grid.shape)[:, None] - 0.5)).any(axis=0)
        counts[STRUCTURES[index - 1].abbreviation] = int(outside.sum())
    return counts


def _box(low: NDArray[np.float64], high: NDArray[np.float64]) -> Box:
    (a, b, c), (x, y, z) = low.tolist(), high.tolist()
    if not all(math.isfinite(edge) for edge in (a, b, c, x, y, z)):
        raise ValueError(f"a box must be finite, got {low} to {high}")
    return Box((a, b, c), (x, y, z))
