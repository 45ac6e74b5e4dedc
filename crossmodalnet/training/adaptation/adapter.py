"""Train CrossModalNet with JADA: one forward pass over both domains gives logits and alignment terms."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from crossmodalnet.networks.common.interfaces import LayeredNetwork, Streams
from crossmodalnet.training.adaptation.config import TERMS as NAMES
from crossmodalnet.training.adaptation.config import AdaptationConfig
from crossmodalnet.training.adaptation.term import (
    DECODER_LEVEL,
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

# Most voxels drawn per step, domain and class.
VOXELS_PER_CLASS = 64


def _find_term(name: str) -> type[Term]:
    """Import the term from the module of its name."""
    module = import_module(f"{__package__}.{name}")
    classes = (value for value in vars(module).values() if isinstance(value, type))
    return next(kind for kind in classes if issubclass(kind, Term) and kind.__module__ == module.__name__)


TERMS: Mapping[str, type[Term]] = {name: _find_term(name) for name in NAMES}

# Discriminator accuracies (0.5 is chance), and `prototype_distance`.
MEASURES = (*(measure for term in TERMS.values() for measure in term.measures), "prototype_distance")


def ganin_ramp(progress: float) -> float:
    """Rise from 0 to almost 1 with the training progress (Ganin et al. 2016, Sec. 5.2).

    Gradients of early, poor discriminators would only disturb the first features.
    """
    return 2 / (1 + math.exp(-10.0 * progress)) - 1


def prototype_distance(
    source_features: Tensor, source_classes: Tensor, target_features: Tensor, target_classes: Tensor, num_classes: int
) -> Tensor:
    """Compute the mean distance of class means across domains, relative to that between classes of the source.

    Features are `(n, c)` with classes `(n,)`. 0: the domains' class means agree; 1: domains lie as far apart as
    classes; NaN: no class occurs in both domains or fewer than two in the source.
    """
    source, in_source = _means(source_features, source_classes, num_classes)
    target, in_target = _means(target_features, target_classes, num_classes)
    both = in_source & in_target
    present = source[in_source]
    i, j = torch.triu_indices(len(present), len(present), offset=1, device=source.device)
    if not both.any() or not len(i):
        return source.new_tensor(torch.nan)
    between = torch.linalg.vector_norm(present[i] - present[j], dim=1).mean()
    return torch.linalg.vector_norm(source[both] - target[both], dim=1).mean() / between


def _means(features: Tensor, classes: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Compute the class means `(num_classes, c)`, and which classes occur."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    # A matrix product: index sums are not reproducible on a GPU.
    members = functional.one_hot(classes.long(), num_classes).to(features)
    with torch.autocast(features.device.type, enabled=False):
        sizes = members.sum(0)
        return members.mT @ features / sizes.clamp_min(1).unsqueeze(1), sizes > 0


class _Branch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, num_source: int, strengths: tuple[float, ...], cap: float) -> tuple[Tensor, ...]:
        ctx.num_source, ctx.strengths, ctx.cap = num_source, strengths, cap
        # An unused side has gradient None.
        ctx.set_materialize_grads(False)
        return tuple(x.view_as(x) for _ in range(1 + len(strengths)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, main: Tensor | None, *sides: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        if main is None:
            return None, None, None, None
        limit = ctx.cap * main[: ctx.num_source].float().norm()
        total = main
        for strength, side in zip(ctx.strengths, sides, strict=True):
            if side is None:
                continue
            norm = abs(strength) * side.float().norm()
            # NaN where the norm is NaN: a diverging loss must not be hidden.
            factor = strength * (limit / norm.clamp_min(torch.finfo(torch.float32).tiny)).clamp_max(1.0)
            total = total + factor.to(side.dtype) * side
        return total, None, None, None


def branch(x: Tensor, num_source: int, strengths: Sequence[float], cap: float) -> tuple[Tensor, ...]:
    """Return `x` for the main path, and once more for each side branch; the `num_source` source samples come first.

    In the backward pass, a side's gradient is multiplied by its strength (negative: reversed) and capped at `cap` times
    the norm of the main path's gradient on the source samples. So no side outweighs the supervised loss.
    """
    return cast("tuple[Tensor, ...]", _Branch.apply(x, num_source, tuple(strengths), cap))


class Forks:
    """Branches terms off a running network, and stores their features.

    `views` holds the features of all streams by term and place, `main` the main path's by place; channels first. `ramp`
    multiplies all strengths, 0 to 1.
    """

    def __init__(
        self, terms: Mapping[str, Term], strengths: Mapping[str, float], *, ramp: float, num_source: int, cap: float
    ) -> None:
        self._terms = terms
        self._signed = {
            name: ramp * (-strengths[name] if term.is_reversed else strengths[name]) for name, term in terms.items()
        }
        self._num_source = num_source
        self._cap = cap
        self.views: dict[str, dict[Place, Maps]] = {name: {} for name in terms}
        self.main: dict[Place, Maps] = {}

    def fork(self, place: Place, streams: Streams) -> Streams:
        """Branch the terms of a place off `(b, d, h, w, c)`, at the output `(b, k, D, H, W)`; return the main path."""
        names = [name for name, term in self._terms.items() if place in term.places]
        strengths = [self._signed[name] for name in names]
        copies = [branch(x, self._num_source, strengths, self._cap) for x in streams]
        self.main[place] = [_maps(place, of_stream[0]) for of_stream in copies]
        for number, name in enumerate(names, start=1):
            self.views[name][place] = [_maps(place, of_stream[number]) for of_stream in copies]
        return tuple(of_stream[0] for of_stream in copies)


def _maps(place: Place, x: Tensor) -> Tensor:
    return x.movedim(-1, 1) if place in INSIDE else x


class AdaptationNetwork(nn.Module):
    """CrossModalNet with JADA's terms; minimise the supervised loss plus the sum of the terms.

    Discriminators learn to tell the domains apart; the network gets their gradients reversed, scaled by ramp and
    strength, and capped (see `branch`). Terms of strength 0 are not computed.

    Raises:
        ValueError: the network has no decoder level.
    """

    def __init__(self, network: LayeredNetwork, config: AdaptationConfig, num_classes: int) -> None:
        super().__init__()
        if len(network.decoder) <= DECODER_LEVEL:
            raise ValueError("the network must have a decoder level, that is two levels of tokens at least")
        self.network = network
        self.config = config
        self.strengths = {name: strength for name, strength in config.strengths().items() if strength > 0}
        self.parts = nn.ModuleDict({name: TERMS[name](network, config, num_classes) for name in self.strengths})

    @property
    def terms(self) -> dict[str, Term]:
        """The computed terms, in the order of `forward`'s result."""
        return {name: part for name, part in self.parts.items() if isinstance(part, Term)}

    def absent(self, number: int) -> frozenset[str]:
        """List the terms that step `number` leaves out; counts steps with target samples."""
        return frozenset(name for name, term in self.terms.items() if number % term.every)

    def discriminator_parameters(self) -> list[nn.Parameter]:
        """List the parameters of the terms."""
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
        """Run both domains through the network; with deep supervision, terms use only the finest logits.

        Args:
            source: labelled images `(s, 2, D, H, W)`.
            target: unlabelled images `(t, 2, D, H, W)`; None: source only, terms are 0 and measures NaN.
            label: class indices of the source `(s, D, H, W)`; None without a target.
            ramp: multiplies all strengths, 0 to 1.
            number: number of the step, see `absent`.

        Returns:
            Logits of the source `(s, num_classes, D, H, W)`, or with deep supervision a list of them, finest first;
            the terms `(len(terms),)`; and the measures without gradient `(len(MEASURES),)`.
        """
        losses = {name: torch.zeros((), device=source.device) for name in self.strengths}
        measures = {name: torch.full((), torch.nan, device=source.device) for name in MEASURES}
        if target is None or label is None:
            return self.network(source), _stacked(losses, source), _stacked(measures, source)
        absent, count = self.absent(number), len(source)
        terms = {name: term for name, term in self.terms.items() if name not in absent}
        before = {name: term.before(source) for name, term in terms.items()}
        forks = Forks(terms, self.strengths, ramp=ramp, num_source=count, cap=self.config.cap)
        layers = {layer_at(self.network, at): at for at in INSIDE}
        with tapped({layer: partial(forks.fork, at) for layer, at in layers.items()}):
            outputs = self.network(torch.cat([source, target]))
        finest, *coarser = outputs if isinstance(outputs, list) else [outputs]
        (logits,) = forks.fork("output", (finest,))
        features = forks.main["decoder"]
        d, h, w = features[0].shape[2:]
        drawn = draw_voxels(coarse_posteriors(logits.detach(), (d, h, w)), label, VOXELS_PER_CLASS)
        seen = {name: x for name, x in before.items() if x is not None}
        domains = BothDomains(count, label, drawn, (d, h, w), seen)
        for name, term in terms.items():
            losses[name], values = term(forks.views[name], domains)
            measures |= zip(term.measures, values, strict=True)
        measures["prototype_distance"] = _distance(features, count, drawn, logits.shape[1])
        supervised = [level[:count] for level in (logits, *coarser)]
        return (
            supervised if isinstance(outputs, list) else supervised[0],
            _stacked(losses, source),
            _stacked(measures, source).detach(),
        )

    def after_step(self) -> None:
        """Notify the terms of an optimiser step."""
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
