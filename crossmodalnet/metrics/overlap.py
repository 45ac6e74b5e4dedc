"""Overlap of two masks or label maps, counted in voxels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Mask = NDArray[np.bool_]


def dice(prediction: Mask, truth: Mask) -> float:
    """Compute the Dice coefficient, `2 |P and T| / (|P| + |T|)`; NaN when both masks are empty.

    Raises:
        ValueError: the shapes differ.

    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    common, total = _counts(prediction, truth)
    return 2 * common / total if total else float("nan")


def iou(prediction: Mask, truth: Mask) -> float:
    """Compute the intersection over union (Jaccard index), `|P and T| / |P or T|`; NaN when both masks are empty."""
    common, total = _counts(prediction, truth)
    return common / (total - common) if total else float("nan")


def _counts(prediction: Mask, truth: Mask) -> tuple[int, int]:
    if prediction.shape != truth.shape:
        raise ValueError(f"masks must have one shape, got {prediction.shape} and {truth.shape}")
    common = int(np.count_nonzero(prediction & truth))
    return common, int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))


def mean_dice(prediction: "Tensor", truth: "Tensor", num_classes: int, ignored: Sequence[int] = ()) -> float:
    """Average Dice over the structures in either label map, 0 where there is none; background is class 0.

    Args:
        ignored: class indices that the truth does not delineate.
    """
    pairs = truth.flatten().long() * num_classes + prediction.flatten().long()
    counts = pairs.bincount(minlength=num_classes**2).reshape(num_classes, num_classes).double()
    sizes = (counts.sum(0) + counts.sum(1))[1:]
    dice = 2 * counts.diagonal()[1:] / sizes.clamp_min(1)
    present = sizes > 0
    present[[index - 1 for index in ignored]] = False
    return float(dice[present].mean()) if present.any() else 0.0
