"""Training with the penalty on falling information flow (`losses.cmif`), for networks of two streams."""

import torch
from torch import Tensor, nn

from crossmodalnet.networks.common.interfaces import LayeredNetwork, channels_first
from crossmodalnet.training.cmif import cmif_penalty
from pipeline.training.extra_objective import ExtraObjective, ObjectiveTerms, StepInput


class FlowNetwork(nn.Module):
    """A network that also gives the penalty of its features, in one forward pass."""

    def __init__(self, network: LayeredNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, step: int) -> tuple[Tensor | list[Tensor], Tensor]:
        """Give logits as the network does, and the penalty in nats; every step has random tokens of its own."""
        logits, layers = self.network.logits_and_layers(x)
        pairs = [(a, b) for a, b in channels_first(layers)]
        return logits, cmif_penalty(pairs, seed=step * len(pairs))  # layers count the seed up


class FlowObjective(ExtraObjective):
    """The penalty on falling information flow.

    Args:
        network: network of two streams.
        weight: `losses.cmif`.
    """

    names = ("cmif",)

    def __init__(self, network: LayeredNetwork, weight: float) -> None:
        super().__init__(FlowNetwork(network))
        self._weight = weight

    @property
    def weights(self) -> list[float]:
        """That of the parameters."""
        return [self._weight]

    def forward(self, module: nn.Module, step: StepInput) -> ObjectiveTerms:
        """Give logits and penalty."""
        logits, penalty = module(step.image, step.number)
        return ObjectiveTerms(logits, penalty[None], torch.zeros(0, device=step.image.device))


def make_flow_objective(network: nn.Module, weight: float) -> ExtraObjective:
    """Make the penalty where there are two streams between which information could flow, else nothing."""
    if isinstance(network, LayeredNetwork) and len(network.inputs) == 2:
        return FlowObjective(network, weight)
    return ExtraObjective(network)
