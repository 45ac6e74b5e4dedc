"""JADA on CrossModalNet: one forward pass over both domains gives logits and all that aligns the domains."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.training.adaptation.common.forks import Forks
from crossmodalnet.training.adaptation.common.places import INSIDE, layer_at
from crossmodalnet.training.adaptation.common.settings import AdaptationSettings
from crossmodalnet.training.adaptation.common.taps import tapped
from crossmodalnet.training.adaptation.common.term import BothDomains, Maps, Term
from crossmodalnet.training.adaptation.common.voxels import (
    DrawnVoxels,
    at_drawn,
    coarse_posteriors,
    draw_voxels,
)
from crossmodalnet.training.adaptation.prototypes import prototype_distance
from crossmodalnet.training.adaptation.terms.registry import TERMS

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
