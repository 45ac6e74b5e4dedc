"""The places of a network at which terms branch off: bottleneck, one decoder level, output."""

from typing import Literal

import torch
from torch import Tensor, nn

from crossmodalnet.networks.common.interfaces import LayeredNetwork, Streams
from crossmodalnet.training.adaptation.common.taps import tapped

Place = Literal["bottleneck", "decoder", "output"]
# The places inside the network, whose features are tokens with channels last; the output's logits are maps.
INSIDE: tuple[Place, ...] = ("bottleneck", "decoder")


def layer_at(network: LayeredNetwork, place: Place, level: int) -> nn.Module:
    """Give the layer whose features a place inside the network has.

    Args:
        network: network of one or two streams.
        place: one of `INSIDE`.
        level: decoder level of the place `decoder`; 0 is the finest.
    """
    layers = network.encoder[-1] if place == "bottleneck" else network.decoder[level]
    assert isinstance(layers, nn.ModuleList)
    return layers[-1]


def channels_at(network: LayeredNetwork, place: Place, level: int) -> int:
    """Count the channels of one stream at a place inside the network; arguments as of `layer_at`."""
    if place == "bottleneck":
        return 2 * channels_at(network, "decoder", len(network.decoder) - 1)
    # Those that its layers normalise, token by token.
    norms = (module for module in network.decoder[level].modules() if isinstance(module, nn.LayerNorm))
    return next(norms).normalized_shape[0]


def decoder_features(network: LayeredNetwork, image: Tensor, level: int) -> Tensor:
    """Give the features of a decoder level, all streams together, `(b, c, d, h, w)`, without gradient."""
    found: list[Tensor] = []

    def keep(streams: Streams) -> Streams:
        found.extend(x.movedim(-1, 1) for x in streams)
        return streams

    with torch.no_grad(), tapped({layer_at(network, "decoder", level): keep}):
        network(image)
    return torch.cat(found, 1)
