"""Protocols by which training uses a network or a part of one without knowing CrossModalNet."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

Streams = tuple[Tensor, ...]


class LayeredNetwork(nn.Module, ABC):
    """A network of one or two streams whose layers' features can be had (Eq. 1): CrossModalNet.

    Attributes:
        inputs: input channel of each stream.
        encoder: the layers of each level, finest first.
        decoder: the layers of each level but the deepest.
    """

    inputs: tuple[int, ...]
    encoder: nn.ModuleList
    decoder: nn.ModuleList

    @abstractmethod
    def logits_and_layers(self, x: Tensor) -> tuple[Tensor | list[Tensor], list[Streams]]:
        """Map `(b, 2, D, H, W)` to logits as `forward` does, and to the features `(b, d, h, w, c)` of every layer."""


@runtime_checkable
class HasOffsets(Protocol):
    """A module that learns sampling offsets, which have a learning rate of their own."""

    def offset_parameters(self) -> list[nn.Parameter]:
        """Give what the offsets are made of."""
        ...


def channels_first(layers: Sequence[Streams]) -> list[Streams]:
    """Turn features `(b, d, h, w, c)` of all layers and streams into `(b, c, d, h, w)`."""
    return [tuple(f.movedim(-1, 1) for f in streams) for streams in layers]
