"""A picture of a prediction: three planes through the heart, without and with the structures, and a legend."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from crossmodalnet.cropping.heart_box import Box
from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Grid, Volume

MARGIN_MM = 25.0
PIXELS = 360
OPACITY = 0.45
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
        RGB picture: a row of the image alone, a row with the structures over it, a legend.
    """
    shown = box.grown(MARGIN_MM)
    step = max(shown.size_mm) / PIXELS
    middle = _middle(labels, box)
    low, high = grey_window(image, modality)
    columns = []
    for plane, (axis, letters) in PLANES.items():
        grid = _plane(shown, axis, middle[axis], step)
        grey = np.clip((resample(image, grid, "linear", low).data - low) / max(high - low, 1e-6), 0, 1)
        picture = np.repeat((_upright(grey, axis) * 255).astype(np.uint8)[..., None], 3, axis=2)
        classes = _upright(resample(labels, grid, "nearest", 0.0).data, axis)
        alone = _panel(picture, f"{plane}, {modality.name}", letters)
        columns.append([alone, _panel(_painted(picture, classes), "", letters)])
    return _laid_out(columns)


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
