"""Align the entropy maps of the output: term `output` (ADVENT, Vu et al. 2019)."""

from collections.abc import Mapping

from torch import Tensor

from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.training.adaptation.config import AdaptationConfig
from crossmodalnet.training.adaptation.discriminators import PatchDiscriminator, domain_loss
from crossmodalnet.training.adaptation.term import BothDomains, Maps, Place, Term, coarse_posteriors, self_information


class OutputTerm(Term):
    """A patch discriminator on the entropy maps, on the grid of the decoder level."""

    name = "output"
    places = ("output",)
    is_reversed = True

    def __init__(self, network: LayeredNetwork, config: AdaptationConfig, num_classes: int) -> None:
        super().__init__(network, config, num_classes)
        self.judge = PatchDiscriminator(num_classes, stride=2)

    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Discriminate the domains, patch by patch."""
        (logits,) = views["output"]
        judged = self.judge(self_information(coarse_posteriors(logits, domains.size)))
        return domain_loss(judged[: domains.num_source], judged[domains.num_source :]), ()
