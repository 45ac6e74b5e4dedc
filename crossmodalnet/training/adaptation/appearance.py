"""Align the inputs: an image takes on another one's intensities and keeps its anatomy."""

import torch
from torch import Tensor

NUM_QUANTILES = 256
# Evenly spaced voxels that quantiles are computed from; more take longer and change nothing.
NUM_SORTED = 16_384


def match_histogram(image: Tensor, reference: Tensor) -> Tensor:
    """Match the histogram of each channel to a reference; both are `(c, ...)`.

    The map is monotonic and linear between quantiles. Equal intensities stay equal, so that background stays flat.

    Raises:
        ValueError: the numbers of channels differ.
    """
    if len(image) != len(reference):
        raise ValueError(f"image and reference must have the same channels, got {len(image)} and {len(reference)}")
    channels = zip(image, reference, strict=True)
    return torch.stack([_matched(own.float(), other.float()).to(image.dtype) for own, other in channels])


def _matched(own: Tensor, other: Tensor) -> Tensor:
    here, there = _quantiles(own), _quantiles(other)
    # Coinciding quantiles are one intensity: average their targets.
    levels, which = torch.unique_consecutive(here, return_inverse=True)
    counts = torch.bincount(which, minlength=len(levels))
    targets = torch.zeros_like(levels).index_add_(0, which, there) / counts
    if len(levels) == 1:
        return targets.expand(own.shape)
    above = torch.searchsorted(levels, own.contiguous()).clamp(1, len(levels) - 1)
    low, high = levels[above - 1], levels[above]
    share = ((own - low) / (high - low)).clamp(0, 1)
    return torch.lerp(targets[above - 1], targets[above], share)


def _quantiles(values: Tensor) -> Tensor:
    flat = values.flatten()
    ordered = flat[:: -(-len(flat) // NUM_SORTED)].sort().values
    places = torch.linspace(0, len(ordered) - 1, NUM_QUANTILES, device=values.device).round().long()
    return ordered[places]
