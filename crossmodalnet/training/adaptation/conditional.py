"""Align features joined with class posteriors: term `conditional` (CDAN, Long et al. 2018)."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.training.adaptation.config import AdaptationConfig
from crossmodalnet.training.adaptation.discriminators import VectorDiscriminator, domain_accuracy, domain_loss
from crossmodalnet.training.adaptation.term import BothDomains, Maps, Place, Term, at_drawn, channels_at

# Largest dimension of the outer product; larger ones use the randomised map.
MAP_DIM = 4096


class ConditionalTerm(Term):
    """A discriminator of drawn voxels' features given their classes."""

    name = "conditional"
    places = ("decoder",)
    is_reversed = True
    measures = ("conditional_accuracy",)

    def __init__(self, network: LayeredNetwork, config: AdaptationConfig, num_classes: int) -> None:
        super().__init__(network, config, num_classes)
        self.map = ConditionalMap(len(network.inputs) * channels_at(network, "decoder"), num_classes)
        self.discriminator = VectorDiscriminator(self.map.out_dim)

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Discriminate the domains, voxel by voxel."""
        drawn = domains.drawn
        of_streams = (at_drawn(maps, domains.num_source, drawn) for maps in views["decoder"])
        source, target = (
            torch.cat([functional.layer_norm(own, own.shape[1:]) for own in of_domain], 1)
            for of_domain in zip(*of_streams, strict=True)
        )
        s = self.discriminator(self.map(source, drawn.source_posteriors))
        t = self.discriminator(self.map(target, drawn.target_posteriors))
        weights = entropy_weights(drawn.source_posteriors), entropy_weights(drawn.target_posteriors)
        return domain_loss(s, t, *weights), (domain_accuracy(s, t),)


class ConditionalMap(nn.Module):
    """Joins `(n, c)` features with `(n, k)` posteriors: 64 features and 8 classes give `(n, 512)`.

    The outer product (Long et al. 2018, Eq. 4) up to `max_dim` entries, else the randomised multilinear map `(R_f f) *
    (R_p p) / sqrt(max_dim)` (Eq. 6), with fixed standard normal matrices. Posteriors are detached, so that only
    features deceive the discriminator.
    """

    random_features: Tensor
    random_posteriors: Tensor

    def __init__(self, feature_dim: int, num_classes: int, max_dim: int = MAP_DIM) -> None:
        super().__init__()
        self.randomised = feature_dim * num_classes > max_dim
        self.out_dim = max_dim if self.randomised else feature_dim * num_classes
        if self.randomised:
            generator = torch.Generator().manual_seed(0)
            for name, size in (("random_features", feature_dim), ("random_posteriors", num_classes)):
                self.register_buffer(name, torch.randn(size, max_dim, generator=generator))

    def forward(self, features: Tensor, posteriors: Tensor) -> Tensor:
        """Map `(n, c)` and `(n, k)` to `(n, out_dim)`."""
        posteriors = posteriors.detach()
        if not self.randomised:
            return (features.unsqueeze(2) * posteriors.unsqueeze(1)).flatten(1)
        product = (features @ self.random_features) * (posteriors @ self.random_posteriors)
        return product / math.sqrt(self.out_dim)


def entropy_weights(posteriors: Tensor) -> Tensor:
    """Weigh rows of posteriors `(n, k)` by certainty: `1 + exp(-H)` (CDAN+E), scaled to mean 1; `(n,)`, detached."""
    weights = 1 + (-torch.special.entr(posteriors.detach()).sum(1)).exp()
    return weights / weights.mean()
