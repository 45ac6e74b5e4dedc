"""A heart's surface as a picture: rays from the viewer's side stop where they meet the first structure."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import Grid, Volume

Side = Literal["front", "back"]
# Letters at the left, right, top and bottom of each view.
LETTERS: Mapping[Side, str] = {"front": "RLSI", "back": "LRSI"}
# Smooths the steps between voxels away, and no vessel: this, or as much as the scan's longest voxel edge.
SMOOTHING_MM = 1.5
# Light from the upper left, behind the viewer: rows down, columns right, depth away from the viewer.
_LIGHT = np.array([-0.5, -0.4, -0.77])
_AMBIENT, _FOG = 0.35, 0.25
# Where neighbouring rays end so far apart, one part lies before another: a dark line.
_STEP_MM = 5.0
_EDGE_SHADE = 0.45

Rgb = NDArray[np.uint8]


def surfaces(
    labels: Volume, grid: Grid, paper: tuple[int, int, int]
) -> dict[Side, tuple[Rgb, NDArray[np.int64]]]:
    """Draw the structures from the front and from behind.

    Args:
        labels: class indices.
        grid: what is drawn: along the world axes (RAS), isotropic; a pixel of the picture is a voxel of it.
        paper: colour where there is nothing.

    Returns:
        By side: picture `(rows, columns, 3)`, head up, and the class index of each pixel, 0 where there is nothing.
    """
    classes = resample(labels, grid, "nearest", 0.0).data
    sigma = max(SMOOTHING_MM, *labels.spacing_mm) / grid.spacing_mm[0]
    present = [structure for structure in STRUCTURES if (classes == structure.index).any()]
    shares = np.zeros((len(STRUCTURES) + 1, *classes.shape), np.float32)
    for structure in present:
        mask = (classes == structure.index).astype(np.float32)
        ndimage.gaussian_filter(mask, sigma, output=shares[structure.index], mode="constant", truncate=3.0)
    # Axes of the views: rows from head to feet, columns to the viewer's right, depth away from the viewer.
    fronts = shares.transpose(0, 3, 1, 2)[:, ::-1, ::-1, ::-1]
    backs = shares.transpose(0, 3, 1, 2)[:, ::-1]
    step = grid.spacing_mm[0]
    return {"front": _view(fronts, step, paper), "back": _view(backs, step, paper)}


def _view(
    shares: NDArray[np.float32], step_mm: float, paper: tuple[int, int, int]
) -> tuple[Rgb, NDArray[np.int64]]:
    filled = shares.sum(axis=0)
    inside = filled >= 0.5
    hit = inside.any(axis=2)
    first = inside.argmax(axis=2)
    rows, columns = np.indices(first.shape)
    classes = np.where(hit, shares[:, rows, columns, first].argmax(axis=0), 0)
    depth = np.where(hit, _between(filled, first, rows, columns), filled.shape[2]) * step_mm
    # The surface looks to where less is filled.
    normal = -np.stack([g[rows, columns, first] for g in np.gradient(filled)])
    normal /= np.linalg.norm(normal, axis=0) + 1e-6
    lit = _AMBIENT + (1 - _AMBIENT) * np.clip(np.tensordot(_LIGHT, normal, 1), 0, 1)
    near, far = (float(depth[hit].min()), float(depth[hit].max())) if hit.any() else (0.0, 1.0)
    shade = lit * (1 - _FOG * np.clip((depth - near) / max(far - near, 1.0), 0, 1))
    shade = np.where(_edges(classes, depth), _EDGE_SHADE * shade, shade)
    colours = np.array([paper, *(_rgb(structure.colour) for structure in STRUCTURES)], np.float64)
    picture = np.where(hit[..., None], colours[classes] * shade[..., None], np.array(paper))
    return picture.round().clip(0, 255).astype(np.uint8), classes.astype(np.int64)


def _between(
    filled: NDArray[np.float32], first: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Depth at which a ray meets the surface, between two voxels."""
    here = filled[rows, columns, first].astype(np.float64)
    before = filled[rows, columns, np.maximum(first - 1, 0)]
    return np.asarray(first - np.clip((here - 0.5) / np.maximum(here - before, 1e-6), 0, 1), np.float64)


def _edges(classes: NDArray[np.int64], depth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pixels at whose upper or left neighbour another structure begins, or the surface leaps."""
    found = np.zeros(classes.shape, np.bool_)
    for axis in (0, 1):
        other = (np.diff(classes, axis=axis) != 0) | (np.abs(np.diff(depth, axis=axis)) > _STEP_MM)
        found |= np.insert(other, 0, False, axis=axis)
    return found


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue
