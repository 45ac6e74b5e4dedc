"""Segment an image on the working grid by a sliding window, within the device's memory."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from crossmodalnet.networks.common.card import LoadedModel
from crossmodalnet.networks.common.sliding_window import predict_probabilities

Window = tuple[int, int, int]

# Window edges, voxels: networks downsample up to four times; below 32, the context is too small.
STEP, SMALLEST = 16, 32


def segment(model: LoadedModel, image: Tensor, overlap: float, *, window: Window | None = None) -> Tensor:
    """Predict class probabilities `(num_classes, d, h, w)` on the CPU from `(2, d, h, w)` in [0, 1].

    Args:
        overlap: share of a window that neighbours have in common, 0 to below 1.
        window: voxels of a window; that of the training by default.

    ValueError if the network's output is not finite.
    """
    patch_size = window or model.card.patch_size
    probabilities = predict_probabilities(model.network, image, patch_size=patch_size, overlap=overlap).cpu()
    if not probabilities.isfinite().all():
        raise ValueError("the network's output is not finite; train again with a smaller train.lr")
    return probabilities


def segment_within_memory(
    model: LoadedModel, image: Tensor, overlap: float, *, report: Callable[[str], None] = lambda _: None
) -> tuple[Tensor, Window]:
    """Call `segment`, and halve the windows until one fits into memory; return that window too.

    Args:
        report: receives a line for each window that does not fit.

    MemoryError if the smallest window does not fit either.
    """
    window = model.card.patch_size
    while True:
        try:
            return segment(model, image, overlap, window=window), window
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # After the handler, because the error holds references to tensors.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        x, y, z = (min(n, max(SMALLEST, STEP * math.ceil(n / (2 * STEP)))) for n in window)
        smaller = (x, y, z)
        if smaller == window or not _takes(model.network, smaller):
            raise MemoryError(
                f"the network does not fit into the memory of its device, even with windows of {_text(window)} "
                "voxels, the smallest that it takes: free memory, or use the CPU"
            )
        report(f"memory is short: windows of {_text(smaller)} voxels instead of {_text(window)}")
        window = smaller


def is_out_of_memory(error: BaseException) -> bool:
    """Detect that PyTorch ran out of memory; on the CPU only the message says so."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _takes(network: nn.Module, size: Window) -> bool:
    """Check an input size; `offsets: static` ties our network to its training size."""
    try:
        if check := getattr(network, "check_size", None):
            check(size)
    except ValueError:
        return False
    return True


def _text(window: Window) -> str:
    return " x ".join(map(str, window))
