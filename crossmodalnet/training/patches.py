"""Where in a case a training patch lies."""

import math

import numpy as np
import torch
from torch import Tensor

Region = tuple[slice, slice, slice]


def draw_region(
    label: Tensor,
    size: tuple[int, int, int],
    *,
    foreground_share: float,
    context: float,
    random: np.random.RandomState,
) -> Region:
    """Draw the region that a patch is cut from, together with room for rotating it.

    Args:
        label: class indices `(d, h, w)`, at least as large as the patch.
        size: the patch, voxels.
        foreground_share: probability, 0 to 1, that the region is centred on a voxel of a random structure.
        context: the region is this many times the patch, where the case allows; 1 or more.
        random: source of the draw.

    Returns:
        Slices of a region that exceeds the patch by an even number of voxels on every axis, so that its
        middle can be cut out without a shift by half a voxel.
    """
    centre = [random.randint(n) for n in label.shape]
    if random.uniform() < foreground_share and (structures := torch.unique(label[label > 0]).tolist()):
        voxels = torch.nonzero(label == structures[random.randint(len(structures))])
        centre = voxels[random.randint(len(voxels))].tolist()
    return tuple(_span(n, m, c, context) for n, m, c in zip(label.shape, size, centre, strict=True))  # type: ignore[return-value]


def _span(available: int, wanted: int, centre: int, context: float) -> slice:
    length = min(math.ceil(wanted * context), available)
    length -= (length - wanted) % 2
    start = min(max(centre - length // 2, 0), available - length)
    return slice(start, start + length)
