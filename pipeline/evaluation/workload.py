"""What is measured: a training step and the inference of one case, on random data, of a network and a reference."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn

from crossmodalnet.imaging.samples import Batch
from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.networks.common.build import build_network
from crossmodalnet.networks.common.padding import PaddedNetwork
from crossmodalnet.networks.common.sliding_window import predict_probabilities
from pipeline.config.sections import LossesConfig, TrainConfig
from pipeline.evaluation.times import Action
from pipeline.runtime.errors import UsageError
from pipeline.training.distributed import Processes
from pipeline.training.learner import Learner

REFERENCE_CHANNELS = (16, 32, 64, 128)


@dataclass(frozen=True)
class Workload:
    """A network and what it is to do; can be sent to another process.

    Attributes:
        model: key of the network's builder.
        options: options of the network.
        train: batch, patch size and how a step is made (precision, clipping, running mean).
        losses: objectives of a step.
        case_size: voxels of the case that is segmented.
        overlap: overlap of the sliding window's patches.
        device: device that the network runs on.
        num_threads: CPU threads; 0 is one per core.
        seed: seed of weights and data.
    """

    model: str
    options: Mapping[str, Any]
    train: TrainConfig
    losses: LossesConfig
    case_size: tuple[int, int, int]
    overlap: float
    device: torch.device
    num_threads: int
    seed: int

    @property
    def processes(self) -> Processes:
        """This process, which computes the whole batch alone."""
        return Processes(0, 1, 1, self.device)

    def build(self) -> nn.Module:
        """Build the network, on its device.

        Raises:
            UsageError: no such network, or it cannot take its options or the patch size.
        """
        torch.manual_seed(self.seed)
        size = self.train.patch_size
        try:
            network = build_network(self.model, self.options, patch_size=size, num_classes=NUM_CLASSES)
        except ValueError as error:
            raise UsageError(f"network.{self.model} with train.patch_size {size}: {error}") from error
        return network.to(self.device)

    def build_reference(self) -> nn.Module:
        """Build the network that all others are compared with: a small plain U-Net of MONAI, on the device."""
        torch.manual_seed(self.seed)
        network = UNet(3, 2, NUM_CLASSES, REFERENCE_CHANNELS, strides=(2, 2, 2))
        # Its skips need sizes that can be halved thrice, its normalisation more than one voxel.
        return PaddedNetwork(network, (8, 8, 8), minimum=(16, 16, 16)).to(self.device)

    def step(self, network: nn.Module) -> Action:
        """Give the action of a training step: to the device, forward, objectives, backward, clip, Adam.

        It is the training's own step but for a learning rate of 0, which costs the same and keeps the weights.
        """
        learner = Learner(network, self.losses, self.train, self.processes)
        batch = self._batch()
        return lambda: learner.step(batch, 0.0, 0, "the profile")

    def inference(self, network: nn.Module) -> Action:
        """Give the action of one case's inference: all its windows and their blending, on the working grid."""
        image = _random_image(1, self.case_size, self.seed)[0]
        return lambda: predict_probabilities(
            network, image, patch_size=self.train.patch_size, overlap=self.overlap
        )

    def patch(self) -> Tensor:
        """One random patch, `(1, 2, d, h, w)`, on the device."""
        return _random_image(1, self.train.patch_size, self.seed).to(self.device)

    def _batch(self) -> Batch:
        b, size = self.train.batch_size, self.train.patch_size
        label = torch.randint(0, NUM_CLASSES, (b, *size), generator=torch.Generator().manual_seed(self.seed))
        return Batch(("random",) * b, _random_image(b, size, self.seed), label)


def _random_image(b: int, size: tuple[int, int, int], seed: int) -> Tensor:
    return torch.rand(b, 2, *size, generator=torch.Generator().manual_seed(seed))
