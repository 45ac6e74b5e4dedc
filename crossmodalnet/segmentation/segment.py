"""From the network's input on the working grid to probabilities."""

from torch import Tensor

from crossmodalnet.networks.common.card import LoadedModel
from crossmodalnet.networks.common.sliding_window import predict_probabilities


def segment(model: LoadedModel, image: Tensor, overlap: float) -> Tensor:
    """Give the class probabilities of an input on the working grid.

    Args:
        model: network, on the device it shall run on, and its card.
        image: CT and MR in [0, 1], `(2, d, h, w)`.
        overlap: share of a patch that neighbouring windows have in common, 0 to below 1.

    Returns:
        `(num_classes, d, h, w)`, on the CPU.

    Raises:
        ValueError: the network's output is not finite.
    """
    patch_size = model.card.patch_size
    probabilities = predict_probabilities(model.network, image, patch_size=patch_size, overlap=overlap).cpu()
    if not probabilities.isfinite().all():
        raise ValueError("the network's output is not finite; train again with a smaller train.lr")
    return probabilities
