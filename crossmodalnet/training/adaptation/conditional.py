"""Align features joined with class posteriors: term `conditional` (CDAN, Long et al. 2018)."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.training.adaptation.config import AdaptationConfig
from crossmodalnet.training.adaptation.discriminators import VectorDiscriminator, domain_accuracy, domain_loss
from crossmodalnet.training.adaptation.term import BothDomains, Maps, Place, Term, at_drawn, channels_at


class ConditionalTerm(Term):
    """A discriminator of drawn voxels' features given their classes."""

    name = "conditional"
    places = ("decoder",)
    is_reversed = True
    measures = ("conditional_accuracy",)

    def __init__(self, network: LayeredNetwork, config: AdaptationConfig, num_classes: int) -> None:
        super().__init__(network, config, num_classes)
        features = len(network.inputs) * channels_at(network, "decoder")
        self.discriminator = VectorDiscriminator(features * num_classes)

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Discriminate the domains, voxel by voxel."""
        drawn = domains.drawn
        of_streams = (at_drawn(maps, domains.num_source, drawn) for maps in views["decoder"])
        source, target = (
            torch.cat([functional.layer_norm(own, own.shape[1:]) for own in of_domain], 1)
            for of_domain in zip(*of_streams, strict=True)
        )
        s = self.discriminator(conditional_map(source, drawn.source_posteriors))
        t = self.discriminator(conditional_map(target, drawn.target_posteriors))
        weights = entropy_weights(drawn.source_posteriors), entropy_weights(drawn.target_posteriors)
        return domain_loss(s, t, *weights), (domain_accuracy(s, t),)


def conditional_map(features: Tensor, posteriors: Tensor) -> Tensor:
    """Join `(n, c)` features with `(n, k)` posteriors by the outer product, `(n, c * k)` (Long et al. 2018, Eq. 4).

    Posteriors are detached, so that only features deceive the discriminator.
    """
    return (features.unsqueeze(2) * posteriors.detach().unsqueeze(1)).flatten(1)


def entropy_weights(posteriors: Tensor) -> Tensor:
    """Weigh rows of posteriors `(n, k)` by certainty: `1 + exp(-H)` (CDAN+E), scaled to mean 1; `(n,)`, detached."""
    weights = 1 + (-torch.special.entr(posteriors.detach()).sum(1)).exp()
    return weights / weights.mean()
