"""Full resolution: the optional convolutional stem of a stream and the fused segmentation head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from crossmodalnet.networks.embedding import PatchExpanding
from crossmodalnet.networks.windows import Triple


class ConvStem(nn.Module):
    """Features of one image at full resolution (not in the paper): convolution, instance norm, GELU.

    Example: (1, 1, 48, 48, 48) -> (1, 8, 48, 48, 48).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, channels, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(channels, channels)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, 1, D, H, W)` to `(b, channels, D, H, W)`."""
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out


class FusedHead(nn.Module):
    """Fuse the streams' decoder outputs into one set of class logits at full resolution.

    Example: two (1, 24, 24, 24, 24) -> (1, 24, 24, 24, 48) -> (1, 48, 48, 48, 16) -> (1, 8, 48, 48, 48).

    Args:
        dim: channels of all streams together.
        stride: of the patch embedding, undone here.
        channels: features per voxel before the classes.
        stem_channels: of all streams together at full resolution, 0 without a convolutional stem.
        num_classes: with background.
    """

    def __init__(
        self, dim: int, stride: Triple, *, channels: int, stem_channels: int, num_classes: int
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.expand = PatchExpanding(dim, channels, stride)
        self.act = nn.GELU()
        width = channels + stem_channels
        self.mix = nn.Conv3d(width, channels, 3, padding=1) if stem_channels else None
        self.classify = nn.Conv3d(channels, num_classes, 1)

    def forward(self, streams: Sequence[Tensor], stems: Sequence[Tensor]) -> Tensor:
        """Map streams `(b, d, h, w, c)` and stems `(b, s, D, H, W)`, if any, to `(b, classes, D, H, W)`."""
        x: Tensor = self.act(self.expand(self.norm(torch.cat(tuple(streams), dim=-1))))
        x = x.movedim(-1, 1)
        if self.mix is not None:
            x = self.act(self.mix(torch.cat([x, *stems], dim=1)))
        logits: Tensor = self.classify(x)
        return logits.contiguous()
