"""Branching features off a network in the middle of its forward pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from crossmodalnet.networks.common.interfaces import Streams


@contextmanager
def tapped(taps: dict[nn.Module, Callable[[Streams], Streams]]) -> Iterator[None]:
    """Let functions see, and replace, what modules give, as long as the context lasts.

    Args:
        taps: per module a function of its output, a tuple of the streams `(b, d, h, w, c)`.
    """

    def hook(function: Callable[[Streams], Streams]) -> Callable[[nn.Module, object, Streams], Streams]:
        return lambda module, arguments, output: function(output)

    handles = [module.register_forward_hook(hook(function)) for module, function in taps.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
