"""Mean Dice of a label map on the working grid: what chooses a checkpoint."""

from collections.abc import Sequence

import torch
from torch import Tensor


def mean_dice(prediction: Tensor, truth: Tensor, num_classes: int, ignored: Sequence[int] = ()) -> float:
    """Mean Dice over the structures that occur in either label map, background aside; 0 where none does.

    Args:
        prediction: class indices, any shape.
        truth: class indices of the same shape.
        num_classes: background included.
        ignored: class indices that do not count, since the truth does not delineate them.
    """
    pairs = truth.flatten().long() * num_classes + prediction.flatten().long()
    counts = torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes).double()
    sizes = (counts.sum(0) + counts.sum(1))[1:]
    dice = 2 * counts.diagonal()[1:] / sizes.clamp_min(1)
    present = sizes > 0
    present[[index - 1 for index in ignored]] = False
    return float(dice[present].mean()) if present.any() else 0.0
