"""Define the metrics (columns, tables, plots and summary follow from `METRICS`) and score one label map."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.metrics import overlap, surface
from crossmodalnet.metrics.topology import betti_error


class MaskPair(NamedTuple):
    """Two masks `(i, j, k)` of one structure; neither is empty where `distances` are read."""

    prediction: overlap.Mask
    truth: overlap.Mask
    distances: surface.SurfaceDistances
    nsd_tolerance_mm: float


@dataclass(frozen=True)
class Metric:
    """A metric of one structure in one case; `unit` is `mm`, or empty for ratios and counts.

    Where exactly one mask is empty (a missed structure), a metric in mm is the image diagonal, one without unit is 0
    if higher is better, else measured. Where both are empty, every metric is NaN.

    Attributes:
        headline: part of the metrics file and the summary.
    """

    key: str
    title: str
    unit: str
    digits: int
    higher_is_better: bool
    measure: Callable[[MaskPair], float]
    headline: bool = False


METRICS = (
    Metric("dice", "Dice", "", 3, True, lambda pair: overlap.dice(pair.prediction, pair.truth), True),
    Metric("iou", "IoU", "", 3, True, lambda pair: overlap.iou(pair.prediction, pair.truth), True),
    Metric("hd95_mm", "HD95", "mm", 1, False, lambda pair: surface.hd95_mm(pair.distances), True),
    Metric("assd_mm", "ASSD", "mm", 2, False, lambda pair: surface.assd_mm(pair.distances)),
    Metric("nsd", "NSD", "", 3, True, lambda pair: surface.nsd(pair.distances, pair.nsd_tolerance_mm), True),
    Metric("betti_error", "Betti error", "", 2, False, lambda pair: betti_error(pair.prediction, pair.truth)),
)
METRIC = {metric.key: metric for metric in METRICS}
HEADLINE = tuple(metric.key for metric in METRICS if metric.headline)


def score_label_map(
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    spacing_mm: tuple[float, float, float],
    nsd_tolerance_mm: float,
    missing: Collection[str] = (),
) -> pd.DataFrame:
    """Score every structure except background.

    Args:
        prediction: class indices `(i, j, k)`, 0 to 7.
        nsd_tolerance_mm: largest distance at which surfaces agree.
        missing: abbreviations of structures that the truth does not delineate.

    Returns:
        A row per structure, indexed by abbreviation: the keys of `METRICS`, `missed` (one mask is empty) and
        `undefined` (both masks are empty, or the structure is missing), each 0 or 1.

    Raises:
        ValueError: the shapes differ.

    >>> truth = np.zeros((8, 8, 8), np.uint8)
    >>> truth[2:6, 2:6, 2:6] = 1
    >>> scores = score_label_map(np.roll(truth, 1, axis=0), truth, (1.0, 1.0, 1.0), nsd_tolerance_mm=3.0)
    >>> scores.loc[["LV", "RV"], ["dice", "hd95_mm", "undefined"]].to_dict("list")
    {'dice': [0.75, nan], 'hd95_mm': [1.0, nan], 'undefined': [0, 1]}
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"label maps must have one shape, got {prediction.shape} and {truth.shape}")
    # Most of a scan is background in both: crop it once for all structures.
    boxes = ndimage.find_objects(((prediction > 0) | (truth > 0)).astype(np.uint8))
    box = boxes[0] if boxes else (slice(0, 0),) * 3
    diagonal_mm = surface.diagonal_mm(truth.shape, spacing_mm)
    rows = {}
    for structure in STRUCTURES:
        masks = [labels[box] == structure.index for labels in (prediction, truth)]
        holds = [bool(mask.any()) and structure.abbreviation not in missing for mask in masks]
        distances = surface.NO_DISTANCES
        if all(holds):
            distances = surface.surface_distances(masks[0], masks[1], spacing_mm)
        pair = MaskPair(masks[0], masks[1], distances, nsd_tolerance_mm)
        scores = {metric.key: _score(metric, pair, holds, diagonal_mm) for metric in METRICS}
        rows[structure.abbreviation] = {
            **scores, "missed": int(any(holds) != all(holds)), "undefined": int(not any(holds)),
        }  # fmt: skip
    return pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), name="structure"))


def _score(metric: Metric, pair: MaskPair, holds: list[bool], diagonal_mm: float) -> float:
    """Measure a metric, or return its value for empty masks."""
    if not any(holds):
        return float("nan")
    if all(holds):
        return metric.measure(pair)
    if metric.unit == "mm":
        return diagonal_mm
    return 0.0 if metric.higher_is_better else metric.measure(pair)
