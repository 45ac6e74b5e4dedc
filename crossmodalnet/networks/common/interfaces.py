"""Interfaces by which training uses a network without knowing CrossModalNet."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

Streams = tuple[Tensor, ...]


class LayeredNetwork(nn.Module, ABC):
    """Expose the features of every layer (Eq. 1) of a network with one or two streams."""

    inputs: tuple[int, ...]  # input channel of each stream
    encoder: nn.ModuleList  # layers of each level, finest first
    decoder: nn.ModuleList  # layers of each level but the deepest

    @abstractmethod
    def logits_and_layers(self, x: Tensor) -> tuple[Tensor | list[Tensor], list[Streams]]:
        """Map `(b, 2, D, H, W)` to the logits of `forward` and every layer's features `(b, d, h, w, c)`."""


@runtime_checkable
class HasOffsets(Protocol):
    """Learn sampling offsets, which have their own learning rate."""

    def offset_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the offsets."""
        ...


def channels_first(layers: Sequence[Streams]) -> list[Streams]:
    """Turn features `(b, d, h, w, c)` of all layers and streams into `(b, c, d, h, w)`."""
    return [tuple(f.movedim(-1, 1) for f in streams) for streams in layers]
