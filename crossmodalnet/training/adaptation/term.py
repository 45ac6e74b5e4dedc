"""Define the base class of JADA's terms, their places in the network, and voxel sampling."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossmodalnet.networks.common.interfaces import LayeredNetwork, Streams
from crossmodalnet.training.adaptation.config import AdaptationConfig

Place = Literal["bottleneck", "decoder", "output"]
# Places inside the network have tokens, channels last; the output has logits, channels first.
INSIDE: tuple[Place, ...] = ("bottleneck", "decoder")
# Aligned decoder level: the finest.
DECODER_LEVEL = 0
EPSILON = 1e-7

Maps = list[Tensor]  # one per stream, (b, c, d, h, w), source samples first


@contextmanager
def tapped(taps: dict[nn.Module, Callable[[Streams], Streams]]) -> Iterator[None]:
    """Pass the outputs of modules, tuples of streams `(b, d, h, w, c)`, through functions while the context lasts."""

    def hook(function: Callable[[Streams], Streams]) -> Callable[[nn.Module, object, Streams], Streams]:
        return lambda module, arguments, output: function(output)

    handles = [module.register_forward_hook(hook(function)) for module, function in taps.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def layer_at(network: LayeredNetwork, place: Place) -> nn.Module:
    """Return the layer whose output is the features of a place inside the network."""
    layers = network.encoder[-1] if place == "bottleneck" else network.decoder[DECODER_LEVEL]
    assert isinstance(layers, nn.ModuleList)
    return layers[-1]


def channels_at(network: LayeredNetwork, place: Place) -> int:
    """Count the channels of one stream at a place inside the network."""
    # Its layers normalise them token by token.
    norms = (module for module in layer_at(network, place).modules() if isinstance(module, nn.LayerNorm))
    return next(norms).normalized_shape[0]


def decoder_features(network: LayeredNetwork, image: Tensor) -> Tensor:
    """Compute the decoder features of all streams, concatenated, `(b, c, d, h, w)`, without gradient."""
    features: list[Tensor] = []

    def keep(streams: Streams) -> Streams:
        features.extend(x.movedim(-1, 1) for x in streams)
        return streams

    with torch.no_grad(), tapped({layer_at(network, "decoder"): keep}):
        network(image)
    return torch.cat(features, 1)


@dataclass(frozen=True)
class DrawnVoxels:
    """Row numbers `(m,)` of `rows(features)` drawn in both domains, with their classes and posteriors.

    Classes are labels in the source and predictions in the target; posteriors `(m, k)` have no gradient.
    """

    source: Tensor
    target: Tensor
    source_classes: Tensor
    target_classes: Tensor
    source_posteriors: Tensor
    target_posteriors: Tensor


def rows(maps: Tensor) -> Tensor:
    """Reshape `(b, c, d, h, w)` to `(b * d * h * w, c)`."""
    return maps.movedim(1, -1).reshape(-1, maps.shape[1])


def draw_balanced(
    classes: Tensor, per_class: int, num_classes: int, generator: torch.Generator = torch.default_generator
) -> Tensor:
    """Draw up to `per_class` positions of each class: `(m,)`, int64, ascending by class, in random order within one.

    A discriminator then cannot tell the domains apart by the sizes of their structures. The generator is on the CPU:
    its state gives the same positions on every device.
    """
    n = len(classes)
    shuffled = torch.randperm(n, generator=generator).to(classes.device)
    by_class, order = classes[shuffled].long().sort(stable=True)
    sizes = torch.bincount(by_class, minlength=num_classes)
    starts = sizes.cumsum(0) - sizes
    rank = torch.arange(n, device=classes.device) - starts[by_class]
    return shuffled[order[rank < per_class]]


@torch.no_grad()
def draw_voxels(posteriors: Tensor, label: Tensor, per_class: int) -> DrawnVoxels:
    """Draw voxels of a coarser grid: by labels in the source, by predictions in the target.

    Args:
        posteriors: class probabilities on the coarser grid, source samples first, `(b, k, d, h, w)`.
        label: labels of the source at full resolution, `(s, D, H, W)`, s less than b.
        per_class: most voxels of each class and domain.
    """
    num_source, num_classes = len(label), posteriors.shape[1]
    coarse = functional.interpolate(label[:, None].float(), posteriors.shape[2:], mode="nearest")
    true_classes = coarse.flatten().long()
    source, target = rows(posteriors[:num_source]), rows(posteriors[num_source:])
    predicted = target.argmax(1)
    s = draw_balanced(true_classes, per_class, num_classes)
    t = draw_balanced(predicted, per_class, num_classes)
    return DrawnVoxels(s, t, true_classes[s], predicted[t], source[s], target[t])


def coarse_posteriors(logits: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Average the class probabilities of logits `(b, k, D, H, W)` over a coarser grid: `(b, k, *size)`."""
    return functional.adaptive_avg_pool3d(logits.float().softmax(1), size)


def at_drawn(maps: Tensor, num_source: int, drawn: DrawnVoxels) -> tuple[Tensor, Tensor]:
    """Pick the drawn voxels of features `(b, c, d, h, w)`: source `(m, c)` and target `(n, c)`."""
    return rows(maps[:num_source])[drawn.source].float(), rows(maps[num_source:])[drawn.target].float()


def self_information(probabilities: Tensor) -> Tensor:
    """Compute `-p log p / log K` of `(b, k, ...)`; its sum over classes is the entropy (ADVENT, Vu et al. 2019)."""
    return -probabilities * (probabilities + EPSILON).log() / math.log(probabilities.shape[1])


def balanced_entropy(probabilities: Tensor) -> float:
    """Average the entropy of `(k, d, h, w)` over the voxels of each predicted class, then over classes: 0 to 1.

    Balanced, since background dominates and is always certain. A class that is predicted nowhere counts 1: a structure
    that has vanished is not a confident prediction.
    """
    classes, flat = probabilities.shape[0], probabilities.reshape(probabilities.shape[0], -1).double()
    entropy = self_information(flat[None])[0].sum(0).clamp(0, 1)
    predicted = flat.argmax(0)
    counts = torch.bincount(predicted, minlength=classes)
    sums = torch.zeros(classes, dtype=torch.float64, device=flat.device).index_add_(0, predicted, entropy)
    return float(torch.where(counts > 0, sums / counts.clamp_min(1), 1.0).mean())


@dataclass(frozen=True)
class BothDomains:
    """Inputs of the terms in a step with target samples; `before` has the results of `Term.before`.

    `label` is `(num_source, D, H, W)`; `size` is the grid of the decoder level.
    """

    num_source: int
    label: Tensor
    drawn: DrawnVoxels
    size: tuple[int, int, int]
    before: Mapping[str, Tensor]


class Term(nn.Module, ABC):
    """A loss that aligns the domains, with its trainable parts.

    A subclass lies in the module of its `name` in this package and has a strength of that name in `TermStrengths`. The
    strength multiplies the gradient to the network; the term's own parts learn at full strength. It branches off the
    network at `places`, adversaries with reversed gradient (`is_reversed`), and returns `measures` beside its loss. It
    is computed at every `every`-th step with target samples. The network is not kept.
    """

    name: ClassVar[str]
    places: ClassVar[tuple[Place, ...]]
    is_reversed: ClassVar[bool] = False
    measures: ClassVar[tuple[str, ...]] = ()
    every: ClassVar[int] = 1

    def __init__(self, network: LayeredNetwork, config: AdaptationConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config

    def before(self, source: Tensor) -> Tensor | None:
        """Process the source images `(s, 2, D, H, W)` before the network; the result comes back in `forward`."""
        return None

    @abstractmethod
    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute the loss of one step, a scalar, and one value per measure; `views` holds each place's streams."""

    def after_step(self, network: LayeredNetwork) -> None:
        """Update the term after an optimiser step."""
