"""JADA on CrossModalNet: one forward pass over both domains gives logits and alignment terms."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from crossmodalnet.networks.common.interfaces import LayeredNetwork, Streams
from crossmodalnet.training.adaptation.config import AdaptationSettings
from crossmodalnet.training.adaptation.term import (
    INSIDE,
    BothDomains,
    DrawnVoxels,
    Maps,
    Place,
    Term,
    at_drawn,
    coarse_posteriors,
    draw_voxels,
    layer_at,
    tapped,
)


def ganin_ramp(progress: float, gamma: float = 10.0) -> float:
    """Rise from 0 to almost 1: `2 / (1 + exp(-gamma p)) - 1` (Ganin et al. 2016, Sec. 5.2).

    Early discriminators know little: their gradients would only disturb the first features.

    Args:
        progress: share of the training that is done, 0 to 1.
        gamma: steepness of the rise; half of the way at `progress = 1.1 / gamma`.

    Raises:
        ValueError: `progress` outside its range.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be between 0 and 1, got {progress}")
    return 2 / (1 + math.exp(-gamma * progress)) - 1


def prototype_distance(
    source_features: Tensor,
    source_classes: Tensor,
    target_features: Tensor,
    target_classes: Tensor,
    num_classes: int,
) -> Tensor:
    """Mean distance between both domains' class means, over that between different classes of the source.

    Scale-free: 0 where every class has one mean in both domains, 1 where domains lie as far apart as classes.

    Args:
        source_features: `(n, c)`.
        source_classes: `(n,)`, integers from 0 to `num_classes - 1`.
        target_features: `(m, c)`.
        target_classes: `(m,)`.
        num_classes: background included.

    Returns:
        Scalar, at least 0; NaN where no class occurs in both domains or fewer than two in the source.
    """
    source, in_source = _means(source_features, source_classes, num_classes)
    target, in_target = _means(target_features, target_classes, num_classes)
    both = in_source & in_target
    present = source[in_source]
    i, j = torch.triu_indices(len(present), len(present), offset=1, device=source.device)
    if not both.any() or not len(i):
        return source.new_tensor(torch.nan)
    between = torch.linalg.vector_norm(present[i] - present[j], dim=1).mean()
    distance: Tensor = torch.linalg.vector_norm(source[both] - target[both], dim=1).mean() / between
    return distance


def _means(features: Tensor, classes: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Means of the classes `(num_classes, c)`, and which classes occur."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    # A matrix product, as sums over an index are not reproducible on a GPU.
    members = functional.one_hot(classes.long(), num_classes).to(features)
    with torch.autocast(features.device.type, enabled=False):
        sizes = members.sum(0)
        return members.mT @ features / sizes.clamp_min(1).unsqueeze(1), sizes > 0


NAMES = ("betti", "conditional", "marginal", "output", "self_training", "topology", "volumes")


def find_term(name: str) -> type[Term]:
    """Import the term that the module of its name defines."""
    module = import_module(f"{__package__}.{name}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Term) and value.__module__ == module.__name__
    )


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """Give `x` itself; the gradient that comes back through it is multiplied by `-strength`."""
    return cast(Tensor, _Reversal.apply(x, strength))


class _Branch(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, num_source: int, strengths: tuple[float, ...], cap: float
    ) -> tuple[Tensor, ...]:
        ctx.num_source, ctx.strengths, ctx.cap = num_source, strengths, cap
        # A side that nothing is computed from has no gradient, instead of one of zeros.
        ctx.set_materialize_grads(False)
        return tuple(x.view_as(x) for _ in range(1 + len(strengths)))

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, main: Tensor | None, *sides: Tensor | None
    ) -> tuple[Tensor | None, None, None, None]:
        if main is None:
            return None, None, None, None
        limit = ctx.cap * main[: ctx.num_source].float().norm()
        total = main
        for strength, side in zip(ctx.strengths, sides, strict=True):
            if side is None:
                continue
            norm = abs(strength) * side.float().norm()
            # Not a number where the norm is: a loss that diverges must be seen, not hidden.
            factor = strength * (limit / norm.clamp_min(torch.finfo(torch.float32).tiny)).clamp_max(1.0)
            total = total + factor.to(side.dtype) * side
        return total, None, None, None


def branch(x: Tensor, num_source: int, strengths: Sequence[float], cap: float) -> tuple[Tensor, ...]:
    """Give `x` for the way on, and once more for each side branch.

    Backward, a side branch's gradient is multiplied by its strength (negative: reversed) and, where that is longer,
    shortened to `cap` times the norm of the gradient that the way on sends to the source samples, which is the
    supervised objectives' but for what other branches further on add. So no side outweighs the labels, whatever
    the scales of the losses.

    Args:
        x: features of a batch, the source samples first, `(b, ...)`.
        num_source: number of source samples, which come first.
        strengths: strengths, one per side branch.
        cap: largest norm of a side's gradient, over that of the supervised one.

    Returns:
        `1 + len(strengths)` tensors equal to `x`.
    """
    return cast(
        "tuple[Tensor, ...]",
        _Branch.apply(x, num_source, tuple(strengths), cap),
    )


class Forks:
    """Branches terms off a network as it runs, and keeps what each of them sees.

    Args:
        terms: terms of this step by name.
        ramp: multiplies all strengths, 0 to 1.
        strengths: strengths by term, positive.
        num_source: number of source samples, which come first in the batch.
        cap: largest norm of a term's gradient at a fork, over that of the supervised one.

    Attributes:
        views: by term and place, what the term sees.
        main: by place, what goes on; channels first.
    """

    def __init__(
        self,
        terms: Mapping[str, Term],
        strengths: Mapping[str, float],
        *,
        ramp: float,
        num_source: int,
        cap: float,
    ) -> None:
        self._terms = terms
        self._signed = {
            name: ramp * (-strengths[name] if term.is_reversed else strengths[name])
            for name, term in terms.items()
        }
        self._num_source = num_source
        self._cap = cap
        self.views: dict[str, dict[Place, Maps]] = {name: {} for name in terms}
        self.main: dict[Place, Maps] = {}

    def fork(self, place: Place, streams: Streams) -> Streams:
        """Branch off what streams have at a place; gives them on.

        Args:
            place: place that the streams are of.
            streams: features `(b, d, h, w, c)` inside the network, logits `(b, k, D, H, W)` at the output.
        """
        names = [name for name, term in self._terms.items() if place in term.places]
        strengths = [self._signed[name] for name in names]
        ways = [branch(x, self._num_source, strengths, self._cap) for x in streams]
        self.main[place] = [_maps(place, way[0]) for way in ways]
        for number, name in enumerate(names, start=1):
            self.views[name][place] = [_maps(place, way[number]) for way in ways]
        return tuple(way[0] for way in ways)


def _maps(place: Place, x: Tensor) -> Tensor:
    return x.movedim(-1, 1) if place in INSIDE else x


TERMS: Mapping[str, type[Term]] = MappingProxyType({name: find_term(name) for name in sorted(NAMES)})

# Shares of right answers of the discriminators (0.5: the domains look alike), and how far apart the classes'
# mean features are between the domains (1: as far as different classes of the source).
MEASURES = (*(measure for term in TERMS.values() for measure in term.measures), "prototype_distance")


class AdaptationNetwork(nn.Module):
    """CrossModalNet with the terms that JADA trains it by.

    Minimise the supervised loss of the logits plus the sum of the terms: the discriminators learn to tell the
    domains apart, while the network gets their gradients reversed, by ramp and strength, and capped where they
    branch off (`reversal.branch`). Terms are of the samples given, so those of several processes differ a
    little from those of one.

    Args:
        network: network of one or two streams.
        strengths: strengths of the terms by name, not negative, in the order of the terms that `forward` gives; one of
            strength 0, or not named, is not computed.
        settings: sizes of the terms' parts.
        num_classes: background included.

    Raises:
        ValueError: no such term, or the network has no such decoder level.
    """

    def __init__(
        self,
        network: LayeredNetwork,
        strengths: Mapping[str, float],
        settings: AdaptationSettings,
        num_classes: int,
    ) -> None:
        super().__init__()
        if unknown := sorted(set(strengths) - set(TERMS)):
            raise ValueError(f"strengths must be of {', '.join(TERMS)}, got {', '.join(unknown)}")
        if not 0 <= settings.decoder_level < len(network.decoder):
            raise ValueError(
                f"decoder_level must be from 0 to {len(network.decoder) - 1}, the network's coarsest decoder level, "
                f"got {settings.decoder_level}"
            )
        self.network = network
        self.settings = settings
        self.strengths = {name: strengths[name] for name in strengths if strengths[name] > 0}
        self.parts = nn.ModuleDict(
            {name: TERMS[name](network, settings, num_classes) for name in self.strengths}
        )

    @property
    def terms(self) -> dict[str, Term]:
        """The terms that are computed, in the order in which `forward` gives them."""
        return {name: part for name, part in self.parts.items() if isinstance(part, Term)}

    def absent(self, number: int) -> frozenset[str]:
        """Names of the terms that the step `number`, counted over those that see the target, leaves out."""
        return frozenset(name for name, term in self.terms.items() if number % term.every)

    def discriminator_parameters(self) -> list[nn.Parameter]:
        """All parameters that the terms train beside the network."""
        return [parameter for parameter in self.parts.parameters() if parameter.requires_grad]

    def forward(
        self,
        source: Tensor,
        target: Tensor | None = None,
        label: Tensor | None = None,
        *,
        ramp: float = 0.0,
        number: int = 0,
    ) -> tuple[Tensor | list[Tensor], Tensor, Tensor]:
        """Run both domains through the network.

        With deep supervision, all terms are of the finest logits, those that the network gives in use; the coarser
        ones of the source serve its labels alone.

        Args:
            source: labelled images `(s, 2, D, H, W)`.
            target: unlabelled images `(t, 2, D, H, W)`; None: the source alone, terms are 0 and measures NaN.
            label: labels of the source, class indices `(s, D, H, W)`; None without a target.
            ramp: multiplies all strengths, 0 to 1.
            number: number of the step, counted over those that see the target; terms that are `absent` in it are 0.

        Returns:
            logits of the source `(s, num_classes, D, H, W)`, a list of them, finest first, where the network gives
            one (deep supervision), the terms `(len(terms),)`, and the measures without
            gradient `(len(MEASURES),)`.
        """
        losses = {name: torch.zeros((), device=source.device) for name in self.strengths}
        measures = {name: torch.full((), torch.nan, device=source.device) for name in MEASURES}
        if target is None or label is None:
            return self.network(source), _stacked(losses, source), _stacked(measures, source)
        absent, count = self.absent(number), len(source)
        terms = {name: term for name, term in self.terms.items() if name not in absent}
        looked = {name: term.before(source) for name, term in terms.items()}
        forks = Forks(terms, self.strengths, ramp=ramp, num_source=count, cap=self.settings.cap)
        layers = {layer_at(self.network, at, self.settings.decoder_level): at for at in INSIDE}
        with tapped({layer: partial(forks.fork, at) for layer, at in layers.items()}):
            outputs = self.network(torch.cat([source, target]))
        finest, *coarser = outputs if isinstance(outputs, list) else [outputs]
        (logits,) = forks.fork("output", (finest,))
        features = forks.main["decoder"]
        d, h, w = features[0].shape[2:]
        drawn = draw_voxels(
            coarse_posteriors(logits.detach(), (d, h, w)), label, self.settings.voxels_per_class
        )
        before = {name: x for name, x in looked.items() if x is not None}
        domains = BothDomains(count, label, drawn, (d, h, w), before)
        for name, term in terms.items():
            value = term(forks.views[name], domains)
            losses[name] = value.loss
            measures |= zip(term.measures, value.measures, strict=True)
        measures["prototype_distance"] = _distance(features, count, drawn, logits.shape[1])
        supervised = [level[:count] for level in (logits, *coarser)]
        return (
            supervised if isinstance(outputs, list) else supervised[0],
            _stacked(losses, source),
            _stacked(measures, source).detach(),
        )

    def after_step(self) -> None:
        """Tell the terms that the network's weights have changed."""
        for term in self.terms.values():
            term.after_step(self.network)


def _stacked(values: Mapping[str, Tensor], like: Tensor) -> Tensor:
    """Stack scalars in single precision; `(0,)` where there are none."""
    if not values:
        return torch.zeros(0, device=like.device)
    return torch.stack([value.float() for value in values.values()])


def _distance(features: Maps, num_source: int, drawn: DrawnVoxels, num_classes: int) -> Tensor:
    source, target = (
        torch.cat(of_domain, 1).detach()
        for of_domain in zip(*(at_drawn(x, num_source, drawn) for x in features), strict=True)
    )
    return prototype_distance(source, drawn.source_classes, target, drawn.target_classes, num_classes)
