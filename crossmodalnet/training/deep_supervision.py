"""Deep supervision: objectives on outputs of several resolutions, for the networks that have them."""

from collections.abc import Sequence

import torch
from torch import Tensor


def level_weights(num_levels: int) -> list[float]:
    """Weigh the levels, finest first: each next one half as much, together 1 (as in nnU-Net).

    Args:
        num_levels: number of levels, at least 1.
    """
    weights = [0.5**level for level in range(num_levels)]
    return [weight / sum(weights) for weight in weights]


def at_size(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Sample class indices for a coarser output, at the middle of its voxels.

    The stride along an axis of n voxels with m outputs is the power of two s with `m = ceil(n / s)`.

    Args:
        labels: (b, d, h, w).
        size: size of the output, three axes.

    Returns:
        (b, *size).
    """
    for axis, (n, m) in enumerate(zip(labels.shape[1:], size, strict=True), start=1):
        if n != m:
            stride = 1
            while -(-n // stride) > m:
                stride *= 2
            middle = (torch.arange(m, device=labels.device) * stride + stride // 2).clamp_max(n - 1)
            labels = labels.index_select(axis, middle)
    return labels
