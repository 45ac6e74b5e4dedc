"""A heart's surface as a picture: marching cubes (scikit-image), drawn by matplotlib from the front and from behind."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.measure import marching_cubes
from skimage.segmentation import find_boundaries

from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import Grid, Volume

Side = Literal["front", "back"]
# Letters at the left, right, top and bottom of each view.
LETTERS: Mapping[Side, str] = {"front": "RLSI", "back": "LRSI"}
# Smooths the steps between voxels away, and no vessel: this, or as much as the scan's longest voxel edge.
SMOOTHING_MM = 1.5
# Light from the upper left, behind the viewer: to the viewer's right, away from the viewer, up.
_LIGHT = np.array([-0.4, -0.77, 0.5])
_AMBIENT, _FOG = 0.35, 0.25
_EDGE_SHADE = 0.45
# Pixels are drawn so many times finer and averaged, which smooths outlines.
_FINER = 2

Rgb = NDArray[np.uint8]


class _Mesh(NamedTuple):
    """Triangles of all structures.

    Attributes:
        corners: `(n, 3 corners, 3 axes)`, mm from the lowest corner of the drawn grid.
        normals: directions out of the structure `(n, 3 axes)`, of length 1 about.
        classes: class indices `(n,)`.
    """

    corners: NDArray[np.float32]
    normals: NDArray[np.float32]
    classes: NDArray[np.int64]


def surfaces(
    labels: Volume, grid: Grid, size: tuple[int, int], paper: tuple[int, int, int]
) -> dict[Side, tuple[Rgb, NDArray[np.int64]]]:
    """Draw the structures from the front and from behind.

    Args:
        labels: class indices.
        grid: what is drawn: along the world axes (RAS), isotropic; triangles are about as large as its voxels.
        size: columns and rows of the pictures, which show the whole grid.
        paper: colour where there is nothing.

    Returns:
        By side: picture `(rows, columns, 3)`, head up, and the class index of each pixel, 0 where there is nothing.
    """
    mesh = _mesh(labels, grid)
    width, _, height = np.array(grid.shape) * grid.spacing_mm
    return {
        "front": _view(mesh, -1, (width, height), size, paper),
        "back": _view(mesh, 1, (width, height), size, paper),
    }


def _mesh(labels: Volume, grid: Grid) -> _Mesh:
    classes = resample(labels, grid, "nearest", 0.0).data
    step = grid.spacing_mm[0]
    sigma = max(SMOOTHING_MM, *labels.spacing_mm) / step
    parts = [_Mesh(np.zeros((0, 3, 3), np.float32), np.zeros((0, 3), np.float32), np.zeros(0, np.int64))]
    for structure in STRUCTURES:
        mask = (classes == structure.index).astype(np.float32)
        if not mask.any():
            continue
        share = ndimage.gaussian_filter(mask, sigma, mode="nearest", truncate=3.0)
        # Of what is smaller than the smoothing, less than a half is left anywhere.
        level = min(0.5, float(share.max()) / 2)
        # Padded, so that a structure that the grid cuts is closed there.
        places, triangles, normals, _ = marching_cubes(np.pad(share, 1), level)
        corners = (places[triangles] - 0.5) * step
        parts.append(
            _Mesh(corners, normals[triangles].mean(axis=1), np.full(len(triangles), structure.index))
        )
    return _Mesh(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _view(
    mesh: _Mesh, away: int, extent_mm: tuple[float, float], size: tuple[int, int], paper: tuple[int, int, int]
) -> tuple[Rgb, NDArray[np.int64]]:
    """Look along `away` times the y axis: 1 from behind, -1 from the front, where x grows to the viewer's left."""
    turned = np.array([away, away, 1])
    depth = away * mesh.corners[:, :, 1].mean(axis=1)
    seen = np.flatnonzero(away * mesh.normals[:, 1] < 0)
    order = seen[np.argsort(-depth[seen])]  # what lies in front is drawn last
    mesh = _Mesh(mesh.corners[order], mesh.normals[order], mesh.classes[order])
    depth = depth[order]
    near, far = (depth.min(), depth.max()) if depth.size else (0.0, 1.0)
    lit = _AMBIENT + (1 - _AMBIENT) * np.clip(mesh.normals @ (turned * _LIGHT), 0, 1)
    shade = lit * (1 - _FOG * (depth - near) / max(far - near, 1.0))
    colours = np.array([(0, 0, 0), *(to_rgb(structure.colour) for structure in STRUCTURES)])
    flat = mesh.corners[:, :, [0, 2]]
    picture = _drawn(flat, colours[mesh.classes] * shade[:, None], paper, away, extent_mm, size)
    # Drawn again in greys that are class indices: what each pixel shows.
    greys = np.repeat(mesh.classes[:, None], 3, axis=1) / 255
    classes = _drawn(flat, greys, (0, 0, 0), away, extent_mm, size)[..., 0].astype(np.int64)
    edges = find_boundaries(classes, mode="inner") & (classes > 0)
    picture[edges] = (_EDGE_SHADE * picture[edges]).round()
    averaged = Image.fromarray(picture).resize(size, Image.Resampling.BOX)
    return np.array(averaged), classes[_FINER // 2 :: _FINER, _FINER // 2 :: _FINER]


def _drawn(
    triangles: NDArray[np.float32],
    colours: NDArray[np.float64],
    paper: tuple[int, int, int],
    away: int,
    extent_mm: tuple[float, float],
    size: tuple[int, int],
) -> Rgb:
    """Paint triangles `(n, 3 corners, x and z)` one over another, `_FINER` times finer and without mixed colours."""
    # An inch is a pixel: nothing is rounded.
    figure = Figure((_FINER * size[0], _FINER * size[1]), dpi=1, facecolor=_unit(paper))
    width, height = extent_mm
    across = (0, width) if away > 0 else (width, 0)
    axes = figure.add_axes((0, 0, 1, 1), xlim=across, ylim=(0, height))
    axes.set_axis_off()
    corners: Any = triangles  # an array is drawn twice as fast as the list that the annotation asks for
    painted = PolyCollection(corners, facecolors=colours, linewidths=0, antialiaseds=False)
    axes.add_collection(painted, autolim=False)
    raw = BytesIO()
    figure.savefig(raw, format="rgba")
    shape = (_FINER * size[1], _FINER * size[0], 4)
    return np.frombuffer(raw.getvalue(), np.uint8).reshape(shape)[..., :3].copy()


def _unit(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = (value / 255 for value in colour)
    return red, green, blue
