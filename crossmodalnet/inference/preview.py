"""A picture of a prediction: three planes through the heart, without and with the structures, and its surface."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.inference.surface import LETTERS, surfaces
from crossmodalnet.roi.box import Box

MARGIN_MM = 25.0
PIXELS = 360
OPACITY = 0.45
# The surface is computed at this spacing, and drawn at the scale of the planes.
SURFACE_MM = 1.5
BAR_MM = 50.0
# A part of a structure smaller than this, in pixels, is not named in the picture; the legend has its colour.
NAMED_PIXELS = 250
CT_WINDOW_HU = (-150.0, 450.0)
MR_PERCENTILES = (1.0, 99.5)
INK, PAPER = (240, 240, 240), (16, 16, 16)
# World axis across the plane, and the letters at its left, right, top and bottom: radiological, the patient's right
# on the viewer's left.
PLANES = {"axial": (2, "RLAP"), "coronal": (1, "RLSI"), "sagittal": (0, "APSI")}

Rgb = NDArray[np.uint8]


def preview(image: Volume, labels: Volume, modality: Modality, box: Box) -> Image.Image:
    """Draw an image with its label map.

    Args:
        image: CT in HU, or MR.
        labels: class indices on the same grid.
        modality: modality of the image.
        box: heart box in the image's world, which is shown with a margin.

    Returns:
        RGB picture: a row of the image alone, a row with the structures over it, the surface of the structures from
        the front and from behind, a legend.
    """
    shown = box.grown(MARGIN_MM)
    step = max(shown.size_mm) / PIXELS
    low, high = grey_window(image, modality)
    image, labels = (volume.around(*shown.ends_mm) for volume in (image, labels))
    middle = _middle(labels, box)
    columns = []
    for plane, (axis, letters) in PLANES.items():
        grid = _plane(shown, axis, middle[axis], step)
        grey = np.clip((resample(image, grid, "linear", low).data - low) / max(high - low, 1e-6), 0, 1)
        picture = np.repeat((_upright(grey, axis) * 255).astype(np.uint8)[..., None], 3, axis=2)
        classes = _upright(resample(labels, grid, "nearest", 0.0).data, axis)
        alone = _panel(picture, f"{plane}, {modality.name}", letters)
        painted = _panel(_painted(picture, classes), f"{plane}, structures", letters)
        _name(painted, classes)
        for panel in (alone, painted):
            _bar(panel, step)
        columns.append([alone, painted])
    columns.append(_surface_panels(labels, shown, step))
    return _laid_out(columns)


def _surface_panels(labels: Volume, shown: Box, step: float) -> list[Image.Image]:
    """Draw the surface from the front and from behind, at the scale of the coronal plane."""
    shape = [max(1, round(length / SURFACE_MM)) for length in shown.size_mm]
    affine = np.diag([SURFACE_MM, SURFACE_MM, SURFACE_MM, 1.0])
    affine[:3, 3] = np.array(shown.low_mm) + SURFACE_MM / 2
    grid = Grid((shape[0], shape[1], shape[2]), affine)
    size = max(1, round(shown.size_mm[0] / step)), max(1, round(shown.size_mm[2] / step))
    panels = []
    for side, (picture, classes) in surfaces(labels, grid, size, PAPER).items():
        title = "surface, from the front" if side == "front" else "surface, from behind"
        panel = _panel(picture, title, LETTERS[side])
        _name(panel, classes)
        panels.append(panel)
    return panels


def _name(panel: Image.Image, classes: NDArray[np.generic]) -> None:
    """Write each structure's abbreviation where it is widest."""
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(13)
    for structure in STRUCTURES:
        mask = np.pad(classes == structure.index, 1)
        if np.count_nonzero(mask) < NAMED_PIXELS:
            continue
        depth = ndimage.distance_transform_edt(mask)
        row, column = np.unravel_index(int(np.argmax(depth)), mask.shape)
        place = (int(column) - 1, int(row) - 1)
        draw.text(place, structure.abbreviation, INK, font, anchor="mm", stroke_width=2, stroke_fill=PAPER)


def _bar(panel: Image.Image, step: float) -> None:
    """Draw a bar of five centimetres at the lower right."""
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(11)
    width, height = panel.size
    right, y, length = width - 10, height - 10, BAR_MM / step
    if length > width / 2:
        return
    draw.line((right - length, y, right, y), INK, 2)
    text = f"{BAR_MM / 10:.0f} cm"
    place = (right - length / 2, y - 4)
    draw.text(place, text, INK, font, anchor="mb", stroke_width=2, stroke_fill=PAPER)


def _middle(labels: Volume, box: Box) -> NDArray[np.float64]:
    """Centre of the structures, of the box where there are none."""
    inside = np.array(np.nonzero(labels.data))
    if not inside.size:
        return np.asarray(np.mean([box.low_mm, box.high_mm], axis=0), np.float64)
    return np.asarray(labels.grid.to_world(inside).mean(axis=1))


def grey_window(image: Volume, modality: Modality) -> tuple[float, float]:
    """Give the values that are shown black and white: HU of soft tissue and contrast, or percentiles of an MR."""
    if modality is Modality.CT:
        return CT_WINDOW_HU
    low, high = np.percentile(image.data[image.data != 0], MR_PERCENTILES)
    return float(low), float(high)


def _plane(box: Box, axis: int, at_mm: float, step: float) -> Grid:
    shape = [max(1, round(length / step)) for length in box.size_mm]
    shape[axis] = 1
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = np.array(box.low_mm) + step / 2
    affine[axis, 3] = at_mm
    return Grid((shape[0], shape[1], shape[2]), affine)


def _upright(data: NDArray[np.generic], axis: int) -> NDArray[np.generic]:
    """Rows and columns of the view: up is anterior in axial planes, superior in others."""
    flat = np.squeeze(data, axis)
    return flat[::-1, ::-1].T


def _painted(picture: Rgb, classes: NDArray[np.generic]) -> Rgb:
    out = picture.astype(np.float32)
    for structure in STRUCTURES:
        mask = classes == structure.index
        rim = mask & ~ndimage.binary_erosion(mask)
        colour = np.array([int(structure.colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
        out[mask] += OPACITY * (colour - out[mask])
        out[rim] = colour
    return out.round().astype(np.uint8)


def _panel(picture: Rgb, title: str, letters: str) -> Image.Image:
    panel = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(13)
    width, height = panel.size
    if title:
        draw.text((6, 4), title, INK, font, stroke_width=2, stroke_fill=PAPER)
    left, right, top, bottom = tuple(letters)
    for letter, place, anchor in (
        (left, (4, height / 2), "lm"), (right, (width - 4, height / 2), "rm"),
        (top, (width / 2, 4), "mt"), (bottom, (width / 2, height - 4), "mb"),
    ):  # fmt: skip
        draw.text(place, letter, INK, font, anchor=anchor, stroke_width=2, stroke_fill=PAPER)
    return panel


def _laid_out(columns: list[list[Image.Image]]) -> Image.Image:
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
    for structure in STRUCTURES:
        text = f"{structure.abbreviation}: {structure.name}"
        width = 16 + int(draw.textlength(text, font)) + 18
        if x + width > size[0]:
            x, y = gap, y + line
        draw.rectangle((x, y + 3, x + 11, y + 14), structure.colour)
        draw.text((x + 16, y + 1), text, INK, font)
        x += width
    return picture
