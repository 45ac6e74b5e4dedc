"""Choose the device of a network: a GPU or the CPU."""

import torch

from crossmodalnet.errors import ResourceError


def find_device(name: str, key: str) -> torch.device:
    """Choose a device.

    Args:
        name: auto (a GPU if there is one), cpu or cuda.
        key: parameter or option that names the device, for the message.

    Raises:
        ResourceError: there is no GPU, and `name` is cuda.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ResourceError(f"{key} is cuda, but no GPU was found; set it to auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
