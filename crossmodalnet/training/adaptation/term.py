"""Terms of JADA: places in the network, drawn voxels, and the base class."""

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
from crossmodalnet.training.adaptation.config import AdaptationSettings


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


def draw_balanced(classes: Tensor, per_class: int, num_classes: int, generator: torch.Generator) -> Tensor:
    """Draw up to `per_class` positions without replacement from every class that occurs.

    One permutation and one stable sort, however many classes there are: about 30000 voxels in two milliseconds.

    Args:
        classes: class of each position, `(n,)`, integers from 0 (background, a class as any other) to
            `num_classes - 1`; n may be 0.
        per_class: number of voxels of each class, at least 1.
        num_classes: background included.
        generator: generator on the CPU; the same state gives the same positions on every device.

    Returns:
        Positions `(m,)`, int64, on the device of `classes`, ascending by class, in random order within one.

    Raises:
        ValueError: `per_class` below 1, `classes` with other than one axis, or a class outside the range.
    """
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1, got {per_class}")
    if classes.ndim != 1:
        raise ValueError(f"classes must have one axis, got shape {tuple(classes.shape)}")
    n = len(classes)
    if n and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
        found = f"{int(classes.min())} to {int(classes.max())}"
        raise ValueError(f"classes must be between 0 and {num_classes - 1}, got {found}")
    shuffled = torch.randperm(n, generator=generator).to(classes.device)
    by_class, order = classes[shuffled].long().sort(stable=True)
    sizes = torch.bincount(by_class, minlength=num_classes)
    starts = sizes.cumsum(0) - sizes
    rank = torch.arange(n, device=classes.device) - starts[by_class]
    return shuffled[order[rank < per_class]]


@dataclass(frozen=True)
class DrawnVoxels:
    """Rows of `rows(features)` that were drawn, and the classes they were drawn by.

    Attributes:
        source: row numbers among the source samples, `(m,)`.
        target: row numbers among the target samples, `(n,)`.
        source_classes: true classes, `(m,)`.
        target_classes: predicted classes, `(n,)`.
        source_posteriors: `(m, num_classes)`, no gradient.
        target_posteriors: `(n, num_classes)`, no gradient.
    """

    source: Tensor
    target: Tensor
    source_classes: Tensor
    target_classes: Tensor
    source_posteriors: Tensor
    target_posteriors: Tensor


def rows(maps: Tensor) -> Tensor:
    """Turn `(b, c, d, h, w)` into `(b * d * h * w, c)`."""
    return maps.movedim(1, -1).reshape(-1, maps.shape[1])


@torch.no_grad()
def draw_voxels(posteriors: Tensor, label: Tensor, per_class: int) -> DrawnVoxels:
    """Draw voxels of a coarser grid: of the source by its labels, of the target by the predictions.

    Uses torch's global generator, which training seeds anew in every step.

    Args:
        posteriors: class probabilities of a batch on the coarser grid, the source samples first, `(b, k, d, h, w)`.
        label: labels of the source samples at full resolution, `(s, D, H, W)`, s less than b.
        per_class: largest number of voxels of each class and domain.
    """
    num_source, num_classes = len(label), posteriors.shape[1]
    coarse = functional.interpolate(label[:, None].float(), posteriors.shape[2:], mode="nearest")
    true_classes = coarse.flatten().long()
    source, target = rows(posteriors[:num_source]), rows(posteriors[num_source:])
    predicted = target.argmax(1)
    generator = torch.default_generator
    s = draw_balanced(true_classes, per_class, num_classes, generator)
    t = draw_balanced(predicted, per_class, num_classes, generator)
    return DrawnVoxels(s, t, true_classes[s], predicted[t], source[s], target[t])


def coarse_posteriors(logits: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Average class probabilities over the voxels of a coarser grid, in single precision.

    Args:
        logits: `(b, k, D, H, W)`.
        size: voxels of the coarser grid, `(d, h, w)`.

    Returns:
        `(b, k, d, h, w)`, summing to 1 over axis 1.
    """
    return functional.adaptive_avg_pool3d(logits.float().softmax(1), size)


def at_drawn(maps: Tensor, num_source: int, drawn: DrawnVoxels) -> tuple[Tensor, Tensor]:
    """Pick the drawn voxels' features `(b, c, d, h, w)` of the source `(m, c)` and of the target `(n, c)`."""
    return rows(maps[:num_source])[drawn.source].float(), rows(maps[num_source:])[drawn.target].float()


EPSILON = 1e-7


def self_information(probabilities: Tensor) -> Tensor:
    """Give the maps whose sum over classes is the entropy, `-p log p / log K` (ADVENT, Vu et al. 2019).

    Args:
        probabilities: `(b, k, ...)`, summing to 1 over axis 1, k at least 2.

    Returns:
        The same shape, at least 0; the sum over axis 1 lies in [0, 1].
    """
    return -probabilities * (probabilities + EPSILON).log() / math.log(probabilities.shape[1])


def balanced_entropy(probabilities: Tensor) -> float:
    """Average the entropy of the voxels predicted as each class, over all classes; one that is not predicted counts 1.

    Balanced, since background is nine tenths and always sure of itself; and a structure that has vanished is
    not a structure that is sure.

    Args:
        probabilities: probabilities of one image, `(k, d, h, w)`, summing to 1 over axis 0.

    Returns:
        0 (sure of everything) to 1.
    """
    classes, flat = probabilities.shape[0], probabilities.reshape(probabilities.shape[0], -1).double()
    entropy = self_information(flat[None])[0].sum(0).clamp(0, 1)
    predicted = flat.argmax(0)
    counts = torch.bincount(predicted, minlength=classes)
    sums = torch.zeros(classes, dtype=torch.float64, device=flat.device).index_add_(0, predicted, entropy)
    return float(torch.where(counts > 0, sums / counts.clamp_min(1), 1.0).mean())


Maps = list[Tensor]  # of the streams, (b, c, d, h, w) each, the source samples first


@dataclass(frozen=True)
class BothDomains:
    """What all terms may look at in a step that sees the target.

    Attributes:
        num_source: number of source samples, which come first in every batch of maps.
        label: labels of the source, class indices `(num_source, D, H, W)`.
        drawn: voxels of the decoder level that were drawn in both domains, every class alike.
        size: voxels of the decoder level, `(d, h, w)`.
        before: what the terms asked for before the network ran (`Term.before`), by name.
    """

    num_source: int
    label: Tensor
    drawn: DrawnVoxels
    size: tuple[int, int, int]
    before: Mapping[str, Tensor]


@dataclass(frozen=True)
class TermValue:
    """What a term gives.

    Attributes:
        loss: scalar.
        measures: figures for the curves, one per name in `Term.measures`; NaN where undefined.
    """

    loss: Tensor
    measures: tuple[Tensor, ...] = ()


class Term(nn.Module, ABC):
    """A loss that aligns the domains, with the parts that it trains.

    A subclass lies in a module of its own in `terms/`, called by the term's name, and makes its parts in its
    constructor, which has these arguments. Its strength multiplies the gradient that it sends to the network; its own
    parts learn at full strength.

    Args:
        network: network that is adapted; it is not kept.
        settings: sizes of the parts.
        num_classes: background included.

    Attributes:
        name: name of the term, as in the registry, the curves and the parameters.
        places: places at which it branches off the network.
        is_reversed: whether the network gets its gradient reversed, as an adversary's.
        measures: names of the figures that it gives beside its loss.
        every: interval, in steps that see the target, at which it is computed.
    """

    name: ClassVar[str]
    places: ClassVar[tuple[Place, ...]]
    is_reversed: ClassVar[bool] = False
    measures: ClassVar[tuple[str, ...]] = ()
    every: int = 1

    def __init__(self, network: LayeredNetwork, settings: AdaptationSettings, num_classes: int) -> None:
        super().__init__()
        self.settings = settings

    def before(self, source: Tensor) -> Tensor | None:
        """Look at the source images `(s, 2, D, H, W)` before the network does; what it gives comes back in `forward`.

        What is drawn at random here is drawn before the network draws.
        """
        return None

    @abstractmethod
    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> TermValue:
        """Compute the loss of one step.

        Args:
            views: at each of the term's places the features of every stream, at `output` the logits alone.
            domains: labels and drawn voxels of the step.
        """

    def after_step(self, network: LayeredNetwork) -> None:
        """Called when the network's weights have changed."""
