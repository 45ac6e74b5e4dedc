"""A model whose segmentation is known."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from crossmodalnet.imaging.intensity import Intensity


def bright_model(channel: int, patch_size: int) -> Any:
    """Make a model that segments as RV what is bright in the CT (channel 0) or the MR (1)."""

    class Bright(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            logits = torch.full((len(image), 8, *image.shape[2:]), -20.0)
            logits[:, 0] = 0
            logits[:, 2] = 20 * (image[:, channel] - 0.5)
            return logits

    card = SimpleNamespace(patch_size=(patch_size,) * 3, intensity=Intensity((0.0, 100.0), (0.0, 100.0)))
    return SimpleNamespace(network=Bright(), card=card)
