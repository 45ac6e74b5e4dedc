"""Draw test cases: images, truth and predictions side by side in three planes, cropped to the heart.

All panels are radiological: the patient's right on the left of axial and coronal panels, anterior on the left
of sagittal ones, superior (axial: anterior) on top.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from crossmodalnet.imaging.nifti import read_image, read_label_map
from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import Grid, Volume
from pipeline.comparison.titles import short_title_of, title_of
from pipeline.config.sections import ReportConfig
from pipeline.report.artefacts import Artefacts

PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
PALETTE = 255 * np.array([to_rgb("black"), *(to_rgb(structure.colour) for structure in STRUCTURES)])
FILL_OPACITY = 0.55
SCALE_BAR_MM = 20.0
SEARCH_SPACING_MM = 2.0
GAP_PX, LINE_PX = 6, 16

Rgb = NDArray[np.uint8]
Point = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CaseOverlay:
    """All panels of one test case.

    Attributes:
        rank: best, median or worst (or several of them, for few cases).
        pair: name of the case.
        dice: mean Dice by title of each method.
        planes: pictures by title of each plane, in the order CT, MR (or the one of them there is), truth, methods.
        quality: JPEG quality in the page.
    """

    rank: str
    pair: str
    dice: Mapping[str, float]
    planes: Mapping[str, Mapping[str, Rgb]]
    quality: int

    def panels(self, plane: str) -> list[dict[str, Any]]:
        """Give the panels of a plane as the page shows them."""
        return [
            {"title": title, "source": jpeg(picture, self.quality), "size": picture.shape}
            for title, picture in self.planes[plane].items()
        ]


def rank_cases(dice: "pd.Series[float]") -> dict[str, str]:
    """Choose best, median (the better one of two) and worst case; of equal ones, the first by name is better.

    Args:
        dice: mean Dice by name of the case.

    Returns:
        Rank by name, best first; one case may hold several ranks.
    """
    names = list(dice.sort_index().sort_values(ascending=False, kind="stable").index)
    ranks: dict[str, str] = {}
    for rank, place in {"best": 0, "median": (len(names) - 1) // 2, "worst": -1}.items():
        name = str(names[place])
        ranks[name] = f"{ranks[name]} and {rank}" if name in ranks else rank
    return ranks


def case_overlays(artefacts: Artefacts) -> list[CaseOverlay]:
    """Draw best, median and worst case of the first model in params.yaml."""
    dice, methods = artefacts.case_means("dice"), artefacts.methods
    overlays = []
    for pair, rank in rank_cases(dice[artefacts.models[0]]).items():
        predictions = {short_title_of(name): artefacts.predictions[name][pair] for name in methods}
        scores = {title_of(name): float(dice[name][pair]) for name in methods}
        files = artefacts.images[pair]
        overlays.append(draw_overlay(rank, pair, files, predictions, scores, artefacts.options))
    return overlays


def draw_overlay(
    rank: str,
    pair: str,
    files: Mapping[str, Path],
    predictions: Mapping[str, Path],
    dice: Mapping[str, float],
    options: ReportConfig,
) -> CaseOverlay:
    """Draw one case.

    Args:
        rank: rank of the case.
        pair: name of the case.
        files: `ct`, `mr` or both, and `truth`.
        predictions: label maps by title.
        dice: mean Dice by title.
        options: section `report`.
    """
    truth = read_label_map(files["truth"])
    low_mm, high_mm = box_of_labels(truth, options.margin_mm)
    titles = {"ct": "CT", "mr": "MR, registered" if "ct" in files else "MR"}
    images = {titles[k]: read_image(files[k]).around(low_mm, high_mm) for k in titles if k in files}
    windows = [options.ct_window_hu if t == "CT" else _percentiles(v.data) for t, v in images.items()]
    maps = [v.around(low_mm, high_mm) for v in (truth, *map(read_label_map, predictions.values()))]
    centre_mm = best_slices(maps[0], low_mm, high_mm)
    pixel_mm = float((high_mm - low_mm).max()) / options.panel_px
    planes = {}
    for plane, axis in PLANES.items():
        grid = slice_grid(low_mm, high_mm, axis, centre_mm[axis], pixel_mm)
        greys = [_grey(volume, grid, window) for volume, window in zip(images.values(), windows, strict=True)]
        reference, *predicted = (_class_map(volume, grid, pixel_mm) for volume in maps)
        panels = {title: np.stack([grey] * 3, -1) for title, grey in zip(images, greys, strict=True)}
        _scale_bar(next(iter(panels.values())), pixel_mm)
        panels["Truth"] = paint(greys[0], reference)
        for title, classes in zip(predictions, predicted, strict=True):
            panels[title] = paint(greys[0], classes, reference)
        planes[plane] = panels
    return CaseOverlay(rank, pair, dice, planes, options.jpeg_quality)


def mosaic(overlay: CaseOverlay) -> Image.Image:
    """Lay out the panels of a case in one picture, for `dvc plots diff`.

    A row per plane, a column per image or method with its title above; the case's name and the mean Dice of each
    method are in the first lines.
    """
    planes = list(overlay.planes.values())
    width = max(picture.shape[1] for panels in planes for picture in panels.values()) + GAP_PX
    heights = [next(iter(panels.values())).shape[0] + GAP_PX for panels in planes]
    lines = [overlay.pair, *(f"{title}: Dice {dice:.3f}" for title, dice in overlay.dice.items())]
    top = LINE_PX * (len(lines) + 1) + GAP_PX
    sheet = Image.new("RGB", (GAP_PX + width * len(planes[0]), top + GAP_PX + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((GAP_PX, 2), "\n".join(lines), (40, 40, 40))
    for row, panels in enumerate(planes):
        for column, (title, picture) in enumerate(panels.items()):
            x, y = GAP_PX + column * width, top + sum(heights[:row])
            sheet.paste(Image.fromarray(picture), (x, y))
            if row == 0:
                draw.text((x, y - LINE_PX), title, (40, 40, 40))
    return sheet


def jpeg(picture: Rgb, quality: int) -> str:
    """Encode `(height, width, 3)` as a JPEG data address; full colour resolution keeps outlines crisp."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def thumbnail(path: Path, longest_px: int, quality: int) -> tuple[str, int, int]:
    """Shrink a picture file to a JPEG data address; returns it with width and height in pixels."""
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
    return jpeg(np.asarray(small, np.uint8), quality), small.width, small.height


def box_of_labels(label: Volume, margin_mm: float) -> tuple[Point, Point]:
    """Find the lowest and highest corner, `(3,)` RAS mm, around all labelled voxels (around everything if none is)."""
    spans = []
    for axis, length in enumerate(label.data.shape):
        filled = np.flatnonzero(label.data.any(axis=_others(axis)))
        spans.append((filled[0], filled[-1]) if len(filled) else (0, length - 1))
    corners = label.grid.to_world(np.array(np.meshgrid(*spans)).reshape(3, -1))
    return corners.min(axis=1) - margin_mm, corners.max(axis=1) + margin_mm


def best_slices(label: Volume, low_mm: Point, high_mm: Point) -> list[float]:
    """Choose the slice per world axis, in mm, that shows most structures, then most labelled tissue."""
    affine = np.diag([SEARCH_SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = low_mm
    i, j, k = (int(n) + 1 for n in (high_mm - low_mm) // SEARCH_SPACING_MM)
    classes = resample(label, Grid((i, j, k), affine), "nearest").data
    chosen = []
    for axis in range(3):
        counts = np.stack([(classes == s.index).sum(axis=_others(axis)) for s in STRUCTURES])
        score = (counts > 0).sum(axis=0) * classes.size + counts.sum(axis=0)
        chosen.append(float(low_mm[axis] + SEARCH_SPACING_MM * int(score.argmax())))
    return chosen


def slice_grid(low_mm: Point, high_mm: Point, axis: int, place_mm: float, pixel_mm: float) -> Grid:
    """Lay square pixels over the box in the plane across a world axis; one voxel along that axis."""
    affine = np.diag([pixel_mm] * 3 + [1.0])
    affine[:3, 3] = low_mm
    affine[axis, 3] = place_mm
    shape = [max(1, round(float(n))) for n in (high_mm - low_mm) / pixel_mm]
    shape[axis] = 1
    return Grid((shape[0], shape[1], shape[2]), affine)


def paint(
    grey: NDArray[np.uint8], classes: NDArray[np.intp], reference: NDArray[np.intp] | None = None
) -> Rgb:
    """Lay structure colours, outlined in full colour, over a grey picture; outlines of `reference` in white."""
    opacity = np.where(_outline(classes), 1.0, FILL_OPACITY) * (classes > 0)
    picture = grey[..., None] + opacity[..., None] * (PALETTE[classes] - grey[..., None])
    if reference is not None:
        picture += 0.85 * _outline(reference)[..., None] * (255 - picture)
    return np.round(picture).astype(np.uint8)


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)


def _as_picture(slice_data: NDArray[np.generic]) -> NDArray[np.generic]:
    """Turn a RAS slice with one axis of length 1 into rows and columns of the radiological view."""
    return np.squeeze(slice_data)[::-1, ::-1].T


def _percentiles(data: NDArray[np.generic]) -> tuple[float, float]:
    """Take the 1st and 99.5th percentile of the non-zero voxels: black and white of an MR."""
    inside = data[data != 0]
    low, high = np.percentile(inside, (1, 99.5)) if inside.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))


def _grey(volume: Volume, grid: Grid, window: Sequence[float]) -> NDArray[np.uint8]:
    low, high = window
    values = _as_picture(resample(volume, grid, "linear", fill=low).data).astype(np.float64)
    return np.round(255 * np.clip((values - low) / (high - low), 0, 1)).astype(np.uint8)


def _class_map(volume: Volume, grid: Grid, pixel_mm: float) -> NDArray[np.intp]:
    """Sample class indices on a slice, staircases of the voxels smoothed away by about half a voxel."""
    classes = _as_picture(resample(volume, grid, "nearest").data)
    sigma_px = 0.5 * max(volume.spacing_mm) / pixel_mm
    present = np.unique(classes)
    shares = [ndimage.gaussian_filter((classes == c).astype(np.float32), sigma_px) for c in present]
    return np.asarray(present[np.argmax(shares, axis=0)], np.intp)


def _outline(classes: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Mark pixels whose right or lower neighbour is of another class: lines of one pixel."""
    edge = np.zeros(classes.shape, np.bool_)
    edge[:-1] |= classes[:-1] != classes[1:]
    edge[:, :-1] |= classes[:, :-1] != classes[:, 1:]
    return edge


def _scale_bar(picture: Rgb, pixel_mm: float) -> None:
    """Draw a white bar of `SCALE_BAR_MM` at the lower left (not on pictures too small for it)."""
    length, height = round(SCALE_BAR_MM / pixel_mm), picture.shape[0]
    if height > 24 and length + 12 < picture.shape[1]:
        picture[height - 12 : height - 8, 8 : 8 + length] = 255
