"""How unsure a segmentation is: per voxel and class, and as one number per image."""

import math

import torch
from torch import Tensor

EPSILON = 1e-7


def self_information(probabilities: Tensor) -> Tensor:
    """Give the maps whose sum over classes is the entropy, `-p log p / log K` (ADVENT, Vu et al. 2019).

    Args:
        probabilities: `(b, k, ...)`, summing to 1 over axis 1, k at least 2.

    Returns:
        The same shape, at least 0; the sum over axis 1 lies in [0, 1].
    """
    return -probabilities * (probabilities + EPSILON).log() / math.log(probabilities.shape[1])


def balanced_entropy(probabilities: Tensor) -> float:
    """Average the entropy of the voxels predicted as each class, over all classes; one that is not predicted counts 1.

    Balanced, since background is nine tenths and always sure of itself; and a structure that has vanished is
    not a structure that is sure.

    Args:
        probabilities: probabilities of one image, `(k, d, h, w)`, summing to 1 over axis 0.

    Returns:
        0 (sure of everything) to 1.
    """
    classes, flat = probabilities.shape[0], probabilities.reshape(probabilities.shape[0], -1).double()
    entropy = self_information(flat[None])[0].sum(0).clamp(0, 1)
    predicted = flat.argmax(0)
    counts = torch.bincount(predicted, minlength=classes)
    sums = torch.zeros(classes, dtype=torch.float64, device=flat.device).index_add_(0, predicted, entropy)
    return float(torch.where(counts > 0, sums / counts.clamp_min(1), 1.0).mean())
