"""From the network's input on the working grid to probabilities."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from crossmodalnet.networks.common.card import LoadedModel
from crossmodalnet.networks.common.sliding_window import predict_probabilities

# World axes of the working grid, in the order of the axes of its voxels.
AXES = "xyz"


def segment(
    model: LoadedModel,
    image: Tensor,
    overlap: float,
    *,
    window: tuple[int, int, int] | None = None,
    mirror: str = "",
) -> Tensor:
    """Give the class probabilities of an input on the working grid.

    Args:
        model: network, on the device it shall run on, and its card.
        image: CT and MR in [0, 1], `(2, d, h, w)`.
        overlap: share of a window that neighbouring windows have in common, 0 to below 1.
        window: voxels that the network sees at once; those of its training where None.
        mirror: world axes, of `xyz`: the image is segmented mirrored along each set of them too, and the
            probabilities are averaged.

    Returns:
        `(num_classes, d, h, w)`, on the CPU.

    Raises:
        ValueError: the network's output is not finite, or `mirror` has other letters.
    """
    size = window or model.card.patch_size
    total: Tensor | None = None
    flips = mirrorings(mirror)
    for axes in flips:
        turned = image.flip(axes) if axes else image
        found = predict_probabilities(model.network, turned, patch_size=size, overlap=overlap).cpu()
        if not found.isfinite().all():
            raise ValueError("the network's output is not finite; train again with a smaller train.lr")
        back = found.flip(axes) if axes else found
        total = back if total is None else total + back
    assert total is not None
    return total / len(flips) if len(flips) > 1 else total


def mirrorings(mirror: str) -> Sequence[tuple[int, ...]]:
    """List the axes of `(channels, d, h, w)` along which an image is mirrored, for each time it is segmented.

    Raises:
        ValueError: another letter, or one twice.

    >>> mirrorings(""), mirrorings("xz")
    ([()], [(), (1,), (3,), (1, 3)])
    """
    if set(mirror) - set(AXES) or len(set(mirror)) < len(mirror):
        raise ValueError(f"mirror must be letters of {AXES}, each once at most, got {mirror!r}")
    axes = sorted(AXES.index(letter) + 1 for letter in mirror)
    return [chosen for size in range(len(axes) + 1) for chosen in combinations(axes, size)]


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether PyTorch had not enough memory on its device; on the CPU it says so in words alone."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
