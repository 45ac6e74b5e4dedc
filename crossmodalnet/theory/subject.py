"""What is audited: a trained network, what it was before training, and its cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from crossmodalnet.training.balancing import Balancing


@dataclass(frozen=True)
class AuditSubject:
    """A trained network with what its checks need.

    Attributes:
        network: trained, in evaluation mode, on its device.
        initial: network before training.
        config: options of the network; None for a network that is not CrossModalNet.
        patch_size: voxels of the images below.
        training: training pairs cut to the patch, `image (2, d, h, w)` in [0, 1], on the CPU.
        test: test pairs, likewise.
        objectives: objectives of the training, keys of `OBJECTIVES`.
        balancing: mode of their weights.
        alpha: sharpness of the weights.
        curves: per epoch of the training: `loss_<objective>` and `weight_<objective>`, means of its steps.
    """

    network: nn.Module
    initial: nn.Module
    config: CrossModalNetConfig | None
    patch_size: Triple
    training: Sequence[LabelledCase]
    test: Sequence[LabelledCase]
    objectives: tuple[str, ...]
    balancing: Balancing
    alpha: float
    curves: Mapping[str, Sequence[float]]

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device

    @property
    def crosses(self) -> bool:
        """Whether two streams attend to each other, which most statements are about."""
        return self.config is not None and self.config.crosses

    def images(self, cases: Sequence[LabelledCase]) -> Tensor:
        """Stack cases to `(n, 2, d, h, w)` on the network's device."""
        return torch.stack([case.image for case in cases]).to(self.device)
