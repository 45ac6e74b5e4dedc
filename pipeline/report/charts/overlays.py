"""Pictures of test cases: CT, MR, truth and predictions side by side in three planes, cropped to the heart.

All panels are radiological: the patient's right on the left of axial and coronal panels, anterior on the left
of sagittal ones, superior (axial: anterior) on top.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from crossmodalnet.imaging.nifti import read_image, read_label_map
from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.structures import NUM_CLASSES, STRUCTURES
from crossmodalnet.imaging.volume import Grid, Volume
from pipeline.comparison.titles import adapted_title_of
from pipeline.config.sections import ReportConfig
from pipeline.report.artefacts.adaptation_records import TargetCase
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Result, TestCase
from pipeline.report.charts.slices import best_slices, heart_box, slice_grid

PLANES = (("axial", 2), ("coronal", 1), ("sagittal", 0))
SCALE_BAR_MM = 20.0
FILL_OPACITY = 0.55

Rgb = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture: its column, what it shows in words, its pixels, and their quality as a JPEG."""

    title: str
    alt: str
    picture: Rgb
    quality: int

    @property
    def source(self) -> str:
        """JPEG data address for the page."""
        return jpeg(self.picture, self.quality)

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.picture.shape[0])

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.picture.shape[1])


@dataclass(frozen=True)
class CaseOverlay:
    """All panels of one test case.

    Attributes:
        rank: best, median or worst (or several of them, for few cases).
        pair: name of the pair.
        dice: mean Dice by title of each method.
        planes: panels of each plane, in the order CT, MR (or the one of them there is), truth, methods.
    """

    rank: str
    pair: str
    dice: Mapping[str, float]
    planes: Mapping[str, Sequence[Panel]]


def rank_cases(result: Result) -> dict[str, str]:
    """Choose best, median (the better one of two) and worst case by mean Dice.

    Returns:
        Rank by pair name, best first; one case may hold several ranks.
    """
    pairs = list(result.mean_dice.index)
    chosen = {"best": pairs[0], "median": pairs[(len(pairs) - 1) // 2], "worst": pairs[-1]}
    ranks: dict[str, str] = {}
    for rank, pair in chosen.items():
        ranks[pair] = f"{ranks[pair]} and {rank}" if pair in ranks else rank
    return ranks


def case_overlay(artefacts: Artefacts, pair: str, rank: str, params: ReportConfig) -> CaseOverlay:
    """Draw all panels of one test case."""
    case = artefacts.cases[pair]
    labels = {result.short_title: read_label_map(result.predictions[pair]) for result in artefacts.results}
    dice = {result.title: float(result.mean_dice[pair]) for result in artefacts.results}
    return CaseOverlay(rank, pair, dice, _draw(case, labels, params))


def target_overlay(case: TargetCase, params: ReportConfig) -> CaseOverlay:
    """Draw a test case of the domain that was adapted to: images, truth, without and with adaptation."""
    labels = {adapted_title_of(name): read_label_map(path) for name, path in case.predictions.items()}
    dice = {adapted_title_of(name): value for name, value in case.dice.items()}
    return CaseOverlay("median", case.images.pair, dice, _draw(case.images, labels, params))


def _draw(case: TestCase, labels: Mapping[str, Volume], params: ReportConfig) -> dict[str, list[Panel]]:
    truth = read_label_map(case.truth)
    low_mm, high_mm = heart_box(truth, params.margin_mm)
    images = {
        title: read_image(path).around(low_mm, high_mm)
        for title, path in (("CT", case.ct), ("MR, registered" if case.ct else "MR", case.mr))
        if path
    }
    truth, *predicted = (volume.around(low_mm, high_mm) for volume in (truth, *labels.values()))
    windows = {t: params.ct_window_hu if t == "CT" else _percentiles(v.data) for t, v in images.items()}
    centre_mm = best_slices(truth, low_mm, high_mm)
    pixel_mm = float((high_mm - low_mm).max()) / params.panel_px
    planes: dict[str, list[Panel]] = {}
    for plane, axis in PLANES:
        grid = slice_grid(low_mm, high_mm, axis, centre_mm[axis], pixel_mm)
        greys = [_grey(volume, grid, windows[title]) for title, volume in images.items()]
        maps = [_class_map(volume, grid, pixel_mm) for volume in (truth, *predicted)]
        pictures = {title: np.stack([grey] * 3, -1) for title, grey in zip(images, greys, strict=True)}
        _scale_bar(next(iter(pictures.values())), pixel_mm)
        pictures["Truth"] = _paint(greys[0], maps[0], None)
        pictures |= {
            name: _paint(greys[0], drawn, maps[0]) for name, drawn in zip(labels, maps[1:], strict=True)
        }
        planes[plane] = [
            Panel(title, f"{title}, {plane} plane, {case.pair}", picture, params.jpeg_quality)
            for title, picture in pictures.items()
        ]
    return planes


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


def _as_picture(slice_data: NDArray[np.generic]) -> NDArray[np.generic]:
    """Turn a RAS slice with one axis of length 1 into rows and columns of the radiological view."""
    return np.squeeze(slice_data)[::-1, ::-1].T


def _percentiles(data: NDArray[np.generic]) -> tuple[float, float]:
    """Take the 1st and 99.5th percentile of the non-zero voxels: black and white of an MR."""
    inside = data[data != 0]
    if not inside.size:
        return 0.0, 1.0
    low, high = np.percentile(inside, (1, 99.5))
    return float(low), float(max(high, low + 1e-6))


def _grey(volume: Volume, grid: Grid, window: tuple[float, float]) -> NDArray[np.uint8]:
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


def _paint(grey: NDArray[np.uint8], classes: NDArray[np.intp], reference: NDArray[np.intp] | None) -> Rgb:
    """Lay structure colours over a grey picture; outlines of `reference` in white."""
    table = np.zeros((NUM_CLASSES, 3))
    for structure in STRUCTURES:
        table[structure.index] = [int(structure.colour[i : i + 2], 16) for i in (1, 3, 5)]
    colours = table[classes]
    picture = np.repeat(grey[..., None].astype(np.float64), 3, axis=-1)
    inside = (classes > 0)[..., None]
    picture = np.where(inside, (1 - FILL_OPACITY) * picture + FILL_OPACITY * colours, picture)
    picture = np.where(_outline(classes)[..., None] & inside, colours, picture)
    if reference is not None:
        picture = np.where(_outline(reference)[..., None], 0.15 * picture + 0.85 * 255, picture)
    return np.round(picture).astype(np.uint8)


def _outline(classes: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Mark pixels whose right or lower neighbour is of another class: lines of one pixel."""
    edge = np.zeros(classes.shape, np.bool_)
    edge[:-1] |= classes[:-1] != classes[1:]
    edge[:, :-1] |= classes[:, :-1] != classes[:, 1:]
    return edge


def _scale_bar(picture: Rgb, pixel_mm: float) -> Rgb:
    """Draw a white bar of `SCALE_BAR_MM` at the lower left (not on pictures too small for it)."""
    length, height = round(SCALE_BAR_MM / pixel_mm), picture.shape[0]
    if height > 24 and length + 12 < picture.shape[1]:
        picture[height - 12 : height - 8, 8 : 8 + length] = 255
    return picture
