"""Training with the penalty on falling information flow (`losses.cmif`), for networks of two streams."""

from torch import Tensor, nn

from crossmodalnet.losses.cmif import cmif_penalty
from crossmodalnet.networks.crossmodalnet import CrossModalNet, channels_first

NAME = "cmif"


class FlowNetwork(nn.Module):
    """A network that also gives the penalty of its features, in one forward pass.

    The penalty is computed in here, so that the gradients of several processes are averaged once, over both.
    """

    def __init__(self, network: CrossModalNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Give logits `(b, num_classes, d, h, w)` and the penalty in nats; every step has random tokens of its own."""
        logits, layers = self.network.logits_and_layers(x)
        pairs = [(a, b) for a, b in channels_first(layers)]
        return logits, cmif_penalty(pairs, seed=step * len(pairs))  # layers count the seed up


def has_flow(network: nn.Module) -> bool:
    """Tell whether there are two streams between which information could flow."""
    return isinstance(network, CrossModalNet) and len(network.inputs) == 2
