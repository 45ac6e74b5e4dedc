"""Align the features as a whole: term `marginal` (Ganin & Lempitsky 2015)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.training.adaptation.config import AdaptationConfig
from crossmodalnet.training.adaptation.discriminators import PatchDiscriminator, domain_accuracy, domain_loss
from crossmodalnet.training.adaptation.term import BothDomains, Maps, Place, Term, channels_at

# The finer maps are large.
STRIDES: Mapping[Place, int] = {"bottleneck": 1, "decoder": 2}


class MarginalTerm(Term):
    """Patch discriminators on the bottleneck and one decoder level of each stream."""

    name = "marginal"
    places = ("bottleneck", "decoder")
    is_reversed = True
    measures = ("marginal_accuracy",)

    def __init__(self, network: LayeredNetwork, config: AdaptationConfig, num_classes: int) -> None:
        super().__init__(network, config, num_classes)
        self.judges = nn.ModuleDict({
            place: nn.ModuleList(
                PatchDiscriminator(channels_at(network, place), stride=STRIDES[place])
                for _ in network.inputs
            )
            for place in self.places
        })  # fmt: skip

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Discriminate the domains, patch by patch; the mean over places and streams."""
        logits = [
            judge(_normalised(maps))
            for place in self.places
            for judge, maps in zip(self._judges_at(place), views[place], strict=True)
        ]
        pairs = [(x[: domains.num_source], x[domains.num_source :]) for x in logits]
        loss = torch.stack([domain_loss(s, t) for s, t in pairs]).mean()
        return loss, (torch.stack([domain_accuracy(s, t) for s, t in pairs]).mean(),)

    def _judges_at(self, place: Place) -> nn.ModuleList:
        judges = self.judges[place]
        assert isinstance(judges, nn.ModuleList)
        return judges


def _normalised(maps: Tensor) -> Tensor:
    """Scale each voxel's features `(b, c, d, h, w)` to mean 0, variance 1: a discriminator would follow their norm."""
    return functional.layer_norm(maps.movedim(1, -1).float(), maps.shape[1:2]).movedim(-1, 1)
