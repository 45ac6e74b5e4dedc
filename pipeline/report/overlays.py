"""Draw test cases: images, truth and predictions side by side in three planes, cropped to the heart.

Panels are radiological: patient's right (sagittal: anterior) on the left, superior (axial: anterior) on top.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from crossmodalnet.imaging.nifti import read_image, read_label_map
from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.inference.preview import grey_window, grid_over, plane_grid, upright
from crossmodalnet.roi.box import Box, box_of
from pipeline.comparison.titles import short_title_of, title_of
from pipeline.config.sections import ReportConfig
from pipeline.report.artefacts import Artefacts

PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
OTHER_AXES = ((1, 2), (0, 2), (0, 1))
PALETTE = 255 * np.array([to_rgb("black"), *(to_rgb(structure.colour) for structure in STRUCTURES)])
FILL_OPACITY = 0.55
SCALE_BAR_MM = 20.0
SEARCH_SPACING_MM = 2.0
GAP_PX, LINE_PX = 6, 16

Rgb = NDArray[np.uint8]
Classes = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class CaseOverlay:
    """All panels of one test case."""

    rank: str  # best, median or worst, or several of them for few cases
    pair: str
    dice: Mapping[str, float]  # mean Dice by title of the method
    planes: Mapping[str, Mapping[str, Rgb]]  # by plane and title: images, truth, methods


def rank_cases(dice: "pd.Series[float]") -> dict[str, str]:
    """Give best, median (the better of two) and worst case their ranks; of equal ones, the first by name is better."""
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
        planes = draw_planes(artefacts.images[pair], predictions, artefacts.options)
        scores = {title_of(name): float(dice[name][pair]) for name in methods}
        overlays.append(CaseOverlay(rank, pair, scores, planes))
    return overlays


def draw_planes(
    files: Mapping[str, Path], predictions: Mapping[str, Path], options: ReportConfig
) -> dict[str, dict[str, Rgb]]:
    """Draw a case from its files `ct`, `mr` or both, and `truth`, and from label maps by title."""
    truth = read_label_map(files["truth"])
    labelled = truth if truth.data.any() else Volume(np.ones_like(truth.data), truth.affine)
    box = box_of(labelled).grown(options.margin_mm)
    titles = {"ct": "CT", "mr": "MR, registered" if "ct" in files else "MR"}
    images = {titles[k]: read_image(files[k]).around(*box.ends_mm) for k in titles if k in files}
    windows = [options.ct_window_hu if t == "CT" else grey_window(v, Modality.MR) for t, v in images.items()]
    maps = [v.around(*box.ends_mm) for v in (truth, *map(read_label_map, predictions.values()))]
    centre_mm = best_slices(maps[0], box)
    pixel_mm = max(box.size_mm) / options.panel_px
    planes = {}
    for plane, axis in PLANES.items():
        grid = plane_grid(box, axis, centre_mm[axis], pixel_mm)
        greys = [_grey(volume, grid, axis, window) for volume, window in zip(images.values(), windows, strict=True)]
        reference, *predicted = (_class_map(volume, grid, axis, pixel_mm) for volume in maps)
        panels = {title: np.stack([grey] * 3, -1) for title, grey in zip(images, greys, strict=True)}
        _scale_bar(next(iter(panels.values())), pixel_mm)
        panels["Truth"] = paint(greys[0], reference)
        for title, classes in zip(predictions, predicted, strict=True):
            panels[title] = paint(greys[0], classes, reference)
        planes[plane] = panels
    return planes


def mosaic(overlay: CaseOverlay) -> Image.Image:
    """Lay out a case in one picture, for `dvc plots diff`: scores on top, a row per plane, a column per panel."""
    planes = list(overlay.planes.values())
    sizes = np.array([[picture.shape[:2] for picture in panels.values()] for panels in planes]) + GAP_PX
    lines = [overlay.pair, *(f"{title}: Dice {dice:.3f}" for title, dice in overlay.dice.items())]
    top, width = LINE_PX * (len(lines) + 1) + GAP_PX, int(sizes[..., 1].max())
    sides = GAP_PX + width * len(planes[0]), top + GAP_PX + int(sizes[:, 0, 0].sum())
    sheet = Image.new("RGB", sides, "white")
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((GAP_PX, 2), "\n".join(lines), (40, 40, 40))
    for column, title in enumerate(overlay.planes["axial"]):
        x, y = GAP_PX + column * width, top
        draw.text((x, y - LINE_PX), title, (40, 40, 40))
        for panels in planes:
            sheet.paste(Image.fromarray(panels[title]), (x, y))
            y += panels[title].shape[0] + GAP_PX
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


def best_slices(label: Volume, box: Box) -> list[float]:
    """Choose the slice per world axis, in mm, that shows most structures, then most labelled tissue."""
    grid = grid_over(box, SEARCH_SPACING_MM)
    classes = resample(label, grid, "nearest").data
    chosen = []
    for axis in range(3):
        counts = np.stack([(classes == s.index).sum(axis=OTHER_AXES[axis]) for s in STRUCTURES])
        score = (counts > 0).sum(axis=0) * classes.size + counts.sum(axis=0)
        chosen.append(float(grid.affine[axis, 3] + SEARCH_SPACING_MM * int(score.argmax())))
    return chosen


def paint(grey: NDArray[np.uint8], classes: Classes, reference: Classes | None = None) -> Rgb:
    """Lay structure colours, outlined in full colour, over a grey picture; outlines of `reference` in white."""
    opacity = np.where(_outline(classes), 1.0, FILL_OPACITY) * (classes > 0)
    picture = grey[..., None] + opacity[..., None] * (PALETTE[classes] - grey[..., None])
    if reference is not None:
        picture += 0.85 * _outline(reference)[..., None] * (255 - picture)
    return np.round(picture).astype(np.uint8)


def _grey(volume: Volume, grid: Grid, axis: int, window: Sequence[float]) -> NDArray[np.uint8]:
    low, high = window
    values = upright(resample(volume, grid, "linear", low).data, axis).astype(np.float64)
    return np.round(255 * np.clip((values - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)


def _class_map(volume: Volume, grid: Grid, axis: int, pixel_mm: float) -> Classes:
    """Sample class indices on a slice, staircases of the voxels smoothed away by about half a voxel."""
    classes = upright(resample(volume, grid, "nearest").data, axis)
    sigma_px = 0.5 * max(volume.spacing_mm) / pixel_mm
    present = np.unique(classes)
    shares = [ndimage.gaussian_filter((classes == c).astype(np.float32), sigma_px) for c in present]
    return np.asarray(present[np.argmax(shares, axis=0)], np.intp)


def _outline(classes: Classes) -> NDArray[np.bool_]:
    """Mark pixels whose right or lower neighbour is of another class: lines of one pixel."""
    edge = np.zeros(classes.shape, np.bool_)
    edge[:-1] |= classes[:-1] != classes[1:]
    edge[:, :-1] |= classes[:, :-1] != classes[:, 1:]
    return edge


def _scale_bar(picture: Rgb, pixel_mm: float) -> None:
    """Draw a white bar of `SCALE_BAR_MM` at the lower left, unless the picture is too small."""
    length, height = round(SCALE_BAR_MM / pixel_mm), picture.shape[0]
    if height > 24 and length + 12 < picture.shape[1]:
        picture[height - 12 : height - 8, 8 : 8 + length] = 255
