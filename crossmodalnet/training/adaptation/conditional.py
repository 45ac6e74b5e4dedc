"""Term `conditional`: features joined with the class posteriors (CDAN, Long et al. 2018) look alike."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.training.adaptation.config import AdaptationSettings
from crossmodalnet.training.adaptation.discriminators import (
    VectorDiscriminator,
    domain_accuracy,
    domain_loss,
)
from crossmodalnet.training.adaptation.jmmd import joint_mmd
from crossmodalnet.training.adaptation.term import (
    BothDomains,
    Maps,
    Place,
    Term,
    TermValue,
    at_drawn,
    channels_at,
)


class ConditionalTerm(Term):
    """The alignment of drawn voxels' features given their classes: by a discriminator, or by a kernel."""

    name = "conditional"
    places = ("decoder",)
    is_reversed = True
    measures = ("conditional_accuracy",)

    def __init__(self, network: LayeredNetwork, settings: AdaptationSettings, num_classes: int) -> None:
        super().__init__(network, settings, num_classes)
        if settings.conditional_by == "discriminator":
            channels = len(network.inputs) * channels_at(network, "decoder", settings.decoder_level)
            self.map = ConditionalMap(channels, num_classes, settings.map_dim)
            self.discriminator = VectorDiscriminator(self.map.out_dim, 2 * settings.width)

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> TermValue:
        """Tell the domains apart; of the kernel, there is no accuracy."""
        drawn = domains.drawn
        of_streams = (at_drawn(maps, domains.num_source, drawn) for maps in views["decoder"])
        source, target = (
            torch.cat([functional.layer_norm(own, own.shape[1:]) for own in of_domain], 1)
            for of_domain in zip(*of_streams, strict=True)
        )
        if self.settings.conditional_by == "kernel":
            loss = joint_mmd(source, drawn.source_posteriors, target, drawn.target_posteriors)
            return TermValue(loss, (torch.full_like(loss, torch.nan),))
        s = self.discriminator(self.map(source, drawn.source_posteriors))
        t = self.discriminator(self.map(target, drawn.target_posteriors))
        weights = entropy_weights(drawn.source_posteriors), entropy_weights(drawn.target_posteriors)
        return TermValue(domain_loss(s, t, *weights), (domain_accuracy(s, t),))


def outer_product(features: Tensor, posteriors: Tensor) -> Tensor:
    """Multiply every feature with every class's probability (Long et al. 2018, Eq. 4).

    Args:
        features: `(n, c)`.
        posteriors: `(n, k)`; the gradient flows to them too.

    Returns:
        `(n, c * k)`; entry `i * k + j` is feature i times probability j.
    """
    return (features.unsqueeze(2) * posteriors.unsqueeze(1)).flatten(1)


class ConditionalMap(nn.Module):
    """Joins `(n, c)` features with `(n, k)` posteriors: 64 features and 8 classes give `(n, 512)`.

    The outer product where it has at most `max_dim` entries, else the randomised multilinear map
    `(R_f f) * (R_p p) / sqrt(max_dim)` (Long et al. 2018, Eq. 6). Its matrices have standard normal entries and
    are never trained, so that its inner products are those of the outer product on average. The posteriors
    are detached: only the features are to deceive the discriminator.
    """

    random_features: Tensor
    random_posteriors: Tensor

    def __init__(self, feature_dim: int, num_classes: int, max_dim: int = 4096, seed: int = 0) -> None:
        """Draw the matrices.

        Args:
            feature_dim: c.
            num_classes: k, background included.
            max_dim: largest dimension of the outer product, and that of the map in its place.
            seed: seed of the matrices alone; torch's own generator is left as it is.

        Raises:
            ValueError: a dimension below 1.
        """
        super().__init__()
        for name, value in (("feature_dim", feature_dim), ("num_classes", num_classes), ("max_dim", max_dim)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.randomised = feature_dim * num_classes > max_dim
        self.out_dim = max_dim if self.randomised else feature_dim * num_classes
        if self.randomised:
            generator = torch.Generator().manual_seed(seed)
            for name, size in (("random_features", feature_dim), ("random_posteriors", num_classes)):
                self.register_buffer(name, torch.randn(size, max_dim, generator=generator))

    def forward(self, features: Tensor, posteriors: Tensor) -> Tensor:
        """Map `(n, c)` and `(n, k)` to `(n, out_dim)`."""
        posteriors = posteriors.detach()
        if not self.randomised:
            return outer_product(features, posteriors)
        product = (features @ self.random_features) * (posteriors @ self.random_posteriors)
        return product / math.sqrt(self.out_dim)


def entropy_weights(posteriors: Tensor) -> Tensor:
    """Weigh rows by how certain their class is: `1 + exp(-H)` (CDAN+E), scaled to mean 1 over the rows.

    Args:
        posteriors: `(n, k)`, each row a distribution; n may be 0.

    Returns:
        `(n,)`, detached; a certain row counts at most twice as much as any other.
    """
    weights = 1 + (-torch.special.entr(posteriors.detach()).sum(1)).exp()
    scaled: Tensor = weights / weights.mean()
    return scaled
