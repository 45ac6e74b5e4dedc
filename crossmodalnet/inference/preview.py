"""Draw a prediction: three planes with and without structures, and the heart's surface."""

from collections.abc import Collection, Mapping, Sequence
from io import BytesIO
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont
from scipy import ndimage
from skimage.measure import marching_cubes
from skimage.segmentation import find_boundaries

from crossmodalnet.imaging.inspect import unlike_modality
from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.structures import ABBREVIATIONS, STRUCTURES, Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.roi.box import Box

Rgb = NDArray[np.uint8]
Side = Literal["front", "back"]

MARGIN_MM = 25.0
PIXELS = 360
OPACITY = 0.45
BAR_MM = 50.0
# Smaller structures, in pixels, get no name in the picture.
NAMED_PIXELS = 250
CT_WINDOW_HU = (-150.0, 450.0)
MR_PERCENTILES = (1.0, 99.5)
INK, PAPER = (240, 240, 240), (16, 16, 16)
# World axis across the plane, and letters at left, right, top, bottom (radiological view).
PLANES = {"axial": (2, "RLAP"), "coronal": (1, "RLSI"), "sagittal": (0, "APSI")}
SIDES: Mapping[Side, tuple[str, str]] = {
    "front": ("surface, from the front", "RLSI"),
    "back": ("surface, from behind", "LRSI"),
}
SURFACE_MM = 1.5
# Smooths voxel steps but keeps vessels; at least the scan's largest spacing is used.
SMOOTHING_MM = 1.5
# Light from the upper left behind the viewer; axes: viewer's right, depth, up.
_LIGHT = np.array([-0.4, -0.77, 0.5])
_AMBIENT, _FOG, _EDGE_SHADE = 0.35, 0.25, 0.45
# Supersampling factor.
_FINER = 2


def preview(
    image: Volume, labels: Volume, modality: Modality, box: Box, learnt: Collection[str] = ABBREVIATIONS
) -> Image.Image:
    """Draw an RGB picture of an image, its label map and surfaces, around the heart ROI.

    Structures of `learnt` (abbreviations) that the label map lacks are marked as not found.
    """
    present = set(np.unique(labels.data).tolist())
    shown = box.grown(MARGIN_MM)
    step = max(shown.size_mm) / PIXELS
    window = grey_window(image, modality)
    image, labels = (volume.around(*shown.ends_mm) for volume in (image, labels))
    middle = centre(labels.data, labels.grid, np.mean([box.low_mm, box.high_mm], axis=0))
    columns = []
    for name, (axis, letters) in PLANES.items():
        plane = plane_grid(shown, axis, middle[axis], step)
        picture = np.repeat((upright(greys(image, plane, window), axis) * 255).astype(np.uint8)[..., None], 3, axis=2)
        classes = upright(resample(labels, plane, "nearest", 0.0).data, axis)
        alone = _panel(picture, f"{name}, {modality.name}", letters)
        painted = _panel(_painted(picture, classes), f"{name}, structures", letters)
        _write_names(painted, classes)
        for panel in (alone, painted):
            _draw_bar(panel, step)
        columns.append([alone, painted])
    size = max(1, round(shown.size_mm[0] / step)), max(1, round(shown.size_mm[2] / step))
    surface_panels = []
    for side, (picture, classes) in surfaces(labels, grid_over(shown, SURFACE_MM), size).items():
        panel = _panel(picture, *SIDES[side])
        _write_names(panel, classes)
        surface_panels.append(panel)
    missing = [s.name for s in STRUCTURES if s.index not in present and s.abbreviation in learnt]
    legend = [(s.colour, f"{s.abbreviation}: {s.name}") for s in STRUCTURES if s.index in present]
    return _arranged([*columns, surface_panels], [*legend, *((None, f"not found: {name}") for name in missing)])


def grey_window(image: Volume, modality: Modality) -> tuple[float, float]:
    """Return the values shown black and white: HU of soft tissue and contrast, or percentiles of an MR or odd CT."""
    if modality is Modality.CT and unlike_modality(float(image.data.min()), 0.0, modality) is None:
        return CT_WINDOW_HU
    inside = image.data[image.data != 0]
    low, high = np.percentile(inside, MR_PERCENTILES) if inside.size else (0.0, 1.0)
    return float(low), float(high)


def greys(image: Volume, grid: Grid, window: tuple[float, float]) -> NDArray[np.float32]:
    """Sample an image on a grid, 0 for the lower end of the window and outside of the image, 1 for the upper end."""
    low, high = window
    return np.clip((resample(image, grid, "linear", low).data - low) / max(high - low, 1e-6), 0, 1)


def grid_over(box: Box, spacing_mm: float, least: int = 1) -> Grid:
    """Make an isotropic grid along the world axes (RAS) over a box, `least` voxels per axis or more."""
    i, j, k = (max(least, round(length / spacing_mm)) for length in box.size_mm)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = np.array(box.low_mm) + spacing_mm / 2
    return Grid((i, j, k), affine)


def centre(classes: NDArray[Any], grid: Grid, default: NDArray[Any]) -> NDArray[np.float64]:
    """Return the centre of the structures in the world, mm; `default` without structures."""
    inside = np.array(np.nonzero(classes))
    return np.asarray(grid.to_world(inside).mean(axis=1) if inside.size else default, np.float64)


def surfaces(labels: Volume, grid: Grid, size: tuple[int, int]) -> dict[Side, tuple[Rgb, NDArray[np.int64]]]:
    """Draw class indices over `grid` (isotropic, RAS) from the front and from behind.

    Args:
        grid: its spacing sets the size of triangles.
        size: columns and rows of the pictures.

    Returns:
        By side: picture `(rows, columns, 3)`, head up, and the class index of each pixel, 0 for background.
    """
    mesh = _mesh(labels, grid)
    width, _, height = np.array(grid.shape) * grid.spacing_mm
    return {"front": _view(mesh, -1, (width, height), size), "back": _view(mesh, 1, (width, height), size)}


class _Mesh(NamedTuple):
    """Triangles: corners `(n, 3, 3)`, mm from the grid's lowest corner; outward normals `(n, 3)`; classes."""

    corners: NDArray[np.float32]
    normals: NDArray[np.float32]
    classes: NDArray[np.int64]


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
        # A structure smaller than the Gaussian is below 0.5 everywhere.
        level = min(0.5, float(share.max()) / 2)
        # Padding closes structures at the edge of the grid.
        places, triangles, normals, _ = marching_cubes(np.pad(share, 1), level)
        corners = (places[triangles] - 0.5) * step
        indices = np.full(len(triangles), structure.index)
        parts.append(_Mesh(corners, normals[triangles].mean(axis=1), indices))
    return _Mesh(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _view(
    mesh: _Mesh, away: int, extent_mm: tuple[float, float], size: tuple[int, int]
) -> tuple[Rgb, NDArray[np.int64]]:
    """Project along `away` times the y axis: 1 from behind, -1 from the front (x grows to the left)."""
    turned = np.array([away, away, 1])
    depth = away * mesh.corners[:, :, 1].mean(axis=1)
    visible = np.flatnonzero(away * mesh.normals[:, 1] < 0)
    order = visible[np.argsort(-depth[visible])]  # the front is drawn last
    mesh = _Mesh(mesh.corners[order], mesh.normals[order], mesh.classes[order])
    depth = depth[order]
    near, far = (depth.min(), depth.max()) if depth.size else (0.0, 1.0)
    lit = _AMBIENT + (1 - _AMBIENT) * np.clip(mesh.normals @ (turned * _LIGHT), 0, 1)
    shade = lit * (1 - _FOG * (depth - near) / max(far - near, 1.0))
    colours = np.array([(0, 0, 0), *(to_rgb(structure.colour) for structure in STRUCTURES)])
    flat = mesh.corners[:, :, [0, 2]]
    picture = _rasterised(flat, colours[mesh.classes] * shade[:, None], PAPER, away, extent_mm, size)
    # A second drawing, in greys that are class indices, gives the class of each pixel.
    greys = np.repeat(mesh.classes[:, None], 3, axis=1) / 255
    classes = _rasterised(flat, greys, (0, 0, 0), away, extent_mm, size)[..., 0].astype(np.int64)
    edges = find_boundaries(classes, mode="inner") & (classes > 0)
    picture[edges] = (_EDGE_SHADE * picture[edges]).round()
    averaged = Image.fromarray(picture).resize(size, Image.Resampling.BOX)
    return np.array(averaged), classes[_FINER // 2 :: _FINER, _FINER // 2 :: _FINER]


def _rasterised(
    triangles: NDArray[np.float32],
    colours: NDArray[np.float64],
    paper: tuple[int, int, int],
    away: int,
    extent_mm: tuple[float, float],
    size: tuple[int, int],
) -> Rgb:
    """Paint triangles `(n, 3 corners, x and z)` in order, `_FINER` times finer, without antialiasing."""
    # One inch per pixel: nothing is rounded.
    red, green, blue = (value / 255 for value in paper)
    figure = Figure((_FINER * size[0], _FINER * size[1]), dpi=1, facecolor=(red, green, blue))
    width, height = extent_mm
    across = (0, width) if away > 0 else (width, 0)
    axes = figure.add_axes((0, 0, 1, 1), xlim=across, ylim=(0, height))
    axes.set_axis_off()
    corners: Any = triangles  # an array is drawn twice as fast as the list of the annotation
    axes.add_collection(PolyCollection(corners, facecolors=colours, linewidths=0, antialiaseds=False), autolim=False)
    raw = BytesIO()
    figure.savefig(raw, format="rgba")
    shape = (_FINER * size[1], _FINER * size[0], 4)
    return np.frombuffer(raw.getvalue(), np.uint8).reshape(shape)[..., :3].copy()


def plane_grid(box: Box, axis: int, at_mm: float, step: float) -> Grid:
    """Make a grid of square pixels, `step` mm, over a box in the plane across a world axis; one voxel thick."""
    grid = grid_over(box, step)
    affine = grid.affine.copy()
    affine[axis, 3] = at_mm
    i, j, k = (1 if own == axis else n for own, n in enumerate(grid.shape))
    return Grid((i, j, k), affine)


def upright(data: NDArray[np.generic], axis: int) -> NDArray[np.generic]:
    """Turn a plane to rows and columns of the view: anterior is up in axial planes, superior in the others."""
    return np.squeeze(data, axis)[::-1, ::-1].T


def _painted(picture: Rgb, classes: NDArray[np.generic]) -> Rgb:
    out = picture.astype(np.float32)
    for structure in STRUCTURES:
        mask = classes == structure.index
        rim = mask & ~ndimage.binary_erosion(mask)
        colour = np.array(ImageColor.getrgb(structure.colour), np.float32)
        out[mask] += OPACITY * (colour - out[mask])
        out[rim] = colour
    return out.round().astype(np.uint8)


def _write(panel: Image.Image, place: tuple[float, float], text: str, anchor: str, size: float = 13) -> None:
    font = ImageFont.load_default(size)
    ImageDraw.Draw(panel).text(place, text, INK, font, anchor=anchor, stroke_width=2, stroke_fill=PAPER)


def _write_names(panel: Image.Image, classes: NDArray[np.generic]) -> None:
    """Write each structure's abbreviation where it is widest."""
    for structure in STRUCTURES:
        mask = np.pad(classes == structure.index, 1)
        if np.count_nonzero(mask) >= NAMED_PIXELS:
            depth = ndimage.distance_transform_edt(mask)
            row, column = np.unravel_index(int(np.argmax(depth)), mask.shape)
            _write(panel, (int(column) - 1, int(row) - 1), structure.abbreviation, "mm")


def _draw_bar(panel: Image.Image, step: float) -> None:
    """Draw a scale bar of five centimetres at the lower right."""
    width, height = panel.size
    right, y, length = width - 10, height - 10, BAR_MM / step
    if length <= width / 2:
        ImageDraw.Draw(panel).line((right - length, y, right, y), INK, 2)
        _write(panel, (right - length / 2, y - 4), f"{BAR_MM / 10:.0f} cm", "mb", 11)


def _panel(picture: Rgb, title: str, letters: str) -> Image.Image:
    panel = Image.fromarray(picture)
    width, height = panel.size
    places = ((4, height / 2), (width - 4, height / 2), (width / 2, 4), (width / 2, height - 4))
    _write(panel, (6, 4), title, "la")
    for letter, place, anchor in zip(letters, places, ("lm", "rm", "mt", "mb"), strict=True):
        _write(panel, place, letter, anchor)
    return panel


def _arranged(columns: Sequence[Sequence[Image.Image]], legend: Sequence[tuple[str | None, str]]) -> Image.Image:
    """Arrange panels in columns of two, above a legend of colours and texts."""
    gap, line = 6, 20
    widths = [max(panel.width for panel in column) for column in columns]
    heights = [max(column[row].height for column in columns) for row in range(2)]
    size = sum(widths) + gap * (len(widths) + 1), sum(heights) + 4 * gap + 2 * line
    picture = Image.new("RGB", size, PAPER)
    x = gap
    for column, width in zip(columns, widths, strict=True):
        y = gap
        for panel, height in zip(column, heights, strict=True):
            picture.paste(panel, (x, y))
            y += height + gap
        x += width + gap
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    x, y = gap, size[1] - 2 * line - gap
    for colour, text in legend:
        width = 16 + int(draw.textlength(text, font)) + 18
        if x + width > size[0]:
            x, y = gap, y + line
        draw.rectangle((x, y + 3, x + 11, y + 14), colour, None if colour else INK)
        draw.text((x + 16, y + 1), text, INK, font)
        x += width
    return picture
