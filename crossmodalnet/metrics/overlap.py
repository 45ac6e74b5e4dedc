"""Overlap of two masks, counted in voxels."""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def dice(prediction: Mask, truth: Mask) -> float:
    """Dice coefficient, `2 |P and T| / (|P| + |T|)`.

    Args:
        prediction: mask, any shape.
        truth: mask of the same shape.

    Returns:
        0 (nothing in common, one mask empty included) to 1; NaN when both masks are empty.

    Raises:
        ValueError: the shapes differ.

    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    common, total = _counts(prediction, truth)
    return 2 * common / total if total else float("nan")


def iou(prediction: Mask, truth: Mask) -> float:
    """Intersection over union (Jaccard index), `|P and T| / |P or T|`; otherwise as `dice`."""
    common, total = _counts(prediction, truth)
    return common / (total - common) if total else float("nan")


def _counts(prediction: Mask, truth: Mask) -> tuple[int, int]:
    if prediction.shape != truth.shape:
        raise ValueError(f"masks must have one shape, got {prediction.shape} and {truth.shape}")
    common = int(np.count_nonzero(prediction & truth))
    return common, int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
