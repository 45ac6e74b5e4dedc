"""The running mean of a network's weights, which follows it as it is trained."""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class RunningMean(AveragedModel):
    """A copy of a network whose weights are their exponentially weighted mean, and whose buffers are the network's.

    `module` is the copy; it asks for no gradient.

    Args:
        network: network to copy; the mean starts at its weights.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.requires_grad_(False)
        # The start counts: PyTorch would take the first weights that it is shown in its place.
        self.n_averaged.fill_(1)

    def follow(self, network: nn.Module, decay: float) -> None:
        """Move towards the network's weights: `mean <- decay mean + (1 - decay) weights`; decay is 0 to 1."""
        self.multi_avg_fn = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.update_parameters(network)
