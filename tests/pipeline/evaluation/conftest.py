"""A network whose segmentation is known: what is bright in one of the images."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crossmodalnet.imaging.intensity import Intensity


class Bright(nn.Module):
    """Segment as RV what is bright in the CT (channel 0) or the MR (1)."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.channel = channel

    def forward(self, image: Tensor) -> Tensor:
        logits = torch.full((len(image), 8, *image.shape[2:]), -20.0)
        logits[:, 0] = 0
        logits[:, 2] = 20 * (image[:, self.channel] - 0.5)
        return logits


@pytest.fixture
def bright() -> Callable[[int, int], Any]:
    """Load a model that segments what is bright: `bright(channel, patch_size)`."""

    def load(channel: int, patch_size: int) -> Any:
        card = SimpleNamespace(patch_size=(patch_size,) * 3, intensity=Intensity((0.0, 100.0), (0.0, 100.0)))
        return SimpleNamespace(network=Bright(channel), card=card)

    return load
