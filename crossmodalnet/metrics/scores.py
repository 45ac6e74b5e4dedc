"""All scores of one label map against another, with the rules for absent structures."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.metrics import overlap, surface
from crossmodalnet.metrics.topology import betti_error


@dataclass(frozen=True)
class Scores:
    """Scores of one structure in one case.

    Attributes:
        dice: 0 to 1.
        iou: 0 to 1.
        hd95_mm: 95 % Hausdorff distance.
        assd_mm: average symmetric surface distance.
        nsd: normalised surface Dice, 0 to 1.
        betti_error: pieces, handles and cavities too many or too few.
        missed: exactly one of the two masks is empty; overlaps are 0 and distances the image diagonal, and the
            empty mask has no piece, handle or cavity.
        undefined: both masks are empty; all scores are NaN.
    """

    dice: float
    iou: float
    hd95_mm: float
    assd_mm: float
    nsd: float
    betti_error: float
    missed: bool = False
    undefined: bool = False


_NAN = float("nan")
# Of a structure that neither mask holds, or that the truth does not delineate.
UNDEFINED = Scores(_NAN, _NAN, _NAN, _NAN, _NAN, _NAN, undefined=True)


def score_mask(
    prediction: overlap.Mask,
    truth: overlap.Mask,
    spacing_mm: tuple[float, float, float],
    nsd_tolerance_mm: float,
    missed_distance_mm: float,
) -> Scores:
    """Score one structure.

    Args:
        prediction: mask `(i, j, k)`.
        truth: mask of the same shape.
        spacing_mm: per axis.
        nsd_tolerance_mm: surfaces closer than this agree.
        missed_distance_mm: every distance when one mask is empty.
    """
    if prediction.any() and truth.any():
        distances = surface.surface_distances(prediction, truth, spacing_mm)
        return Scores(
            overlap.dice(prediction, truth),
            overlap.iou(prediction, truth),
            surface.hd95_mm(distances),
            surface.assd_mm(distances),
            surface.nsd(distances, nsd_tolerance_mm),
            betti_error(prediction, truth),
        )
    if not prediction.any() and not truth.any():
        return UNDEFINED
    topology = betti_error(prediction, truth)
    return Scores(0.0, 0.0, missed_distance_mm, missed_distance_mm, 0.0, topology, missed=True)


def score_label_map(
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    spacing_mm: tuple[float, float, float],
    nsd_tolerance_mm: float,
) -> dict[str, Scores]:
    """Score the seven structures; background is never scored.

    Args:
        prediction: class indices `(i, j, k)`, 0 to 7.
        truth: class indices of the same shape.
        spacing_mm: per axis.
        nsd_tolerance_mm: surfaces closer than this agree.

    Returns:
        Scores by abbreviation, in the order of `STRUCTURES`.

    Raises:
        ValueError: the shapes differ.

    >>> truth = np.zeros((8, 8, 8), np.uint8)
    >>> truth[2:6, 2:6, 2:6] = 1
    >>> scores = score_label_map(np.roll(truth, 1, axis=0), truth, (1.0, 1.0, 1.0), nsd_tolerance_mm=3.0)
    >>> scores["LV"].dice, scores["LV"].hd95_mm, scores["RV"].undefined
    (0.75, 1.0, True)
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"label maps must have one shape, got {prediction.shape} and {truth.shape}")
    # Most of a scan is background in both: leave it out once, for all structures.
    boxes = ndimage.find_objects(((prediction > 0) | (truth > 0)).astype(np.uint8))
    box = boxes[0] if boxes else (slice(0, 0),) * 3
    return {
        structure.abbreviation: score_mask(
            prediction[box] == structure.index,
            truth[box] == structure.index,
            spacing_mm,
            nsd_tolerance_mm,
            surface.diagonal_mm(truth.shape, spacing_mm),
        )
        for structure in STRUCTURES
    }
