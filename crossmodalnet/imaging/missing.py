"""A modality that a patient does not have: how the network's input says so."""

from torch import Tensor

# Images lie in [0, 1]; a channel that is this everywhere stands for an image that does not exist.
MISSING = -1.0

# The channels of an input.
CT, MR = 0, 1


def without(image: Tensor, channel: int) -> Tensor:
    """Take a modality out of an input.

    Args:
        image: (..., 2, d, h, w), CT and MR in [0, 1]; it is left as it is.
        channel: 0 for CT, 1 for MR.

    Returns:
        the same shape, the channel filled with `MISSING`.

    Raises:
        ValueError: no such channel.
    """
    if channel not in range(image.shape[-4]):
        raise ValueError(f"channel must be one of the input's {image.shape[-4]}, got {channel}")
    out = image.clone()
    out.select(-4, channel).fill_(MISSING)
    return out


def is_missing(image: Tensor) -> Tensor:
    """Tell which modalities are missing: `(b, 2, d, h, w)` to `(b, 2)`, true where a channel is below 0 everywhere."""
    return image.flatten(2).amax(dim=2) < 0
