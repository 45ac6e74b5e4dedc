"""What goes into the parts of a network when it segments an image."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
STREAMS = ("CT", "MR")


def capture_inputs(network: nn.Module, image: Tensor, kind: type[M]) -> dict[str, tuple[M, tuple[Any, ...]]]:
    """Run a forward pass without gradients and keep the arguments of every module of one kind.

    Args:
        network: network in evaluation mode.
        image: (b, 2, d, h, w), on the network's device.
        kind: class of the modules.

    Returns:
        per module, by its readable name in the order of the computation, itself and its positional arguments.
    """
    found: dict[str, tuple[M, tuple[Any, ...]]] = {}
    names = {module: name for name, module in network.named_modules() if isinstance(module, kind)}

    def keep(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        assert isinstance(module, kind)
        found[readable(names[module])] = (module, arguments)

    handles = [module.register_forward_pre_hook(keep) for module in names]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return found


def readable(name: str) -> str:
    """Turn the name of a module of CrossModalNet into words.

    `encoder.0.1.swin.1.0` is the plain Swin block of stream MR in the second layer of the finest level:
    `encoder 1.2 MR swin 1`. Names of other modules stay.
    """
    parts = name.split(".")
    if len(parts) < 5 or parts[0] not in ("encoder", "decoder"):
        return name
    side, level, layer, part, stream = parts[:5]
    words = [f"{side} {int(level) + 1}.{int(layer) + 1}", STREAMS[int(stream)], part]
    return " ".join([*words, *(str(int(p) + 1) if p.isdigit() else p for p in parts[5:])])


def relative_deviation(found: Tensor, expected: Tensor) -> float:
    """Largest norm of `found - expected` over that of `expected`: `||found - expected|| / ||expected||`."""
    found, expected = found.detach(), expected.detach()
    return float((found - expected).norm() / expected.norm().clamp_min(torch.finfo(expected.dtype).tiny))


@contextmanager
def own_generator(seed: int) -> Iterator[None]:
    """Draw from torch's global generator with a seed of one's own and leave it as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
