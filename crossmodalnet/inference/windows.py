"""Segmenting within a device's memory: where a window does not fit, smaller ones."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossmodalnet.inference.segment import is_out_of_memory, segment
from crossmodalnet.networks.common.card import LoadedModel

Window = tuple[int, int, int]
# Edges are multiples of 16, as networks halve their maps up to four times; below 32 they see too little of a heart.
STEP, SMALLEST = 16, 32


@dataclass(frozen=True)
class Windowed:
    """What a network gives, and what it saw at once.

    Attributes:
        probabilities: `(num_classes, d, h, w)`, on the CPU.
        window: voxels of a window.
    """

    probabilities: Tensor
    window: Window


def segment_within_memory(
    model: LoadedModel,
    image: Tensor,
    overlap: float,
    *,
    mirror: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> Windowed:
    """Segment as `segment` does, with windows halved until one fits into the memory of the network's device.

    One window is computed at a time, so that there is no batch to make smaller.

    Args:
        model: network, on the device it shall run on, and its card.
        image: CT and MR in [0, 1], `(2, d, h, w)`.
        overlap: share of a window that neighbouring windows have in common.
        mirror: axes, as `segment` has them.
        say: is told each time that a window does not fit.

    Raises:
        MemoryError: the smallest window does not fit either.
        ValueError: as `segment`.
    """
    window: Window = model.card.patch_size
    while True:
        try:
            probabilities = segment(model, image, overlap, window=window, mirror=mirror)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            return Windowed(probabilities, window)
        # Not in the handler: the error holds what the device's memory is full of.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        smaller = _halved(window)
        if smaller == window or refusal(model.network, smaller):
            # With `offsets: static` a network of ours sees windows of one size alone.
            raise MemoryError(
                f"the network does not fit into the memory of its device, even with windows of {_text(window)} "
                "voxels, the smallest that it takes: free some, or use the CPU"
            )
        say(f"memory is short: windows of {_text(smaller)} voxels in place of {_text(window)}")
        window = smaller


def refusal(network: nn.Module, size: Window) -> str:
    """Say why a network does not take inputs of a size, empty where it does; only ours refuses any."""
    try:
        if check := getattr(network, "check_size", None):
            check(size)
    except ValueError as error:
        return str(error)
    return ""


def _halved(window: Window) -> Window:
    x, y, z = (min(n, max(SMALLEST, STEP * math.ceil(n / (2 * STEP)))) for n in window)
    return x, y, z


def _text(window: Window) -> str:
    return " x ".join(map(str, window))
