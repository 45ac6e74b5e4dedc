"""How well a label map fits the truth of a patch, in one number."""

import numpy as np
from torch import Tensor

from crossmodalnet.metrics.overlap import dice


def mean_dice(predicted: Tensor, truth: Tensor) -> float:
    """Average Dice over the structures present in the truth, 1 if there are none; class indices, one shape."""
    guess, label = predicted.numpy(), truth.numpy()
    present = [index for index in np.unique(label) if index > 0]
    scores = [dice(guess == index, label == index) for index in present]
    return float(np.mean(scores)) if scores else 1.0
