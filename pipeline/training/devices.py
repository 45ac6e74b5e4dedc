"""Where networks run: a GPU or the CPU."""

import torch

from pipeline.runtime.errors import ResourceError


def find_device(name: str, key: str) -> torch.device:
    """Give the device that a parameter asks for.

    Args:
        name: auto (a GPU if there is one), cpu or cuda.
        key: key of the parameter, for the message.

    Raises:
        ResourceError: a GPU is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ResourceError(f"{key} is cuda, but no GPU was found; set it to auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
