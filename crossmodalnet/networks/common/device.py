"""Choose a GPU or the CPU."""

import torch

from crossmodalnet.errors import ResourceError


def find_device(name: str, key: str) -> torch.device:
    """Choose the device: cpu, cuda or auto (a GPU if available); the error message names `key`.

    Raises:
        ResourceError: `name` is cuda, but no GPU is available.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ResourceError(f"{key} is cuda, but no GPU was found; set it to auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
