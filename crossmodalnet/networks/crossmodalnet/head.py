"""Convolutional stem of a stream, and heads that fuse the streams at full resolution."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.common.wrappers import PatchExpanding
from crossmodalnet.networks.crossmodalnet.convolution import Conv1x1, ResidualConvBlock, UpConvolution, to_map


class ConvStem(nn.Module):
    """Compute maps of one image finer than its tokens by residual convolutions (not in the paper).

    Example: (1, 1, 40, 40, 40), channels 8 and 24 -> (1, 8, 40, 40, 40), (1, 24, 20, 20, 20).
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[Triple]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([ResidualConvBlock(1, channels[0])])
        self.blocks.extend(
            ResidualConvBlock(before, after, stride)
            for before, after, stride in zip(channels[:-1], channels[1:], strides, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map `(b, 1, D, H, W)` to a list of `(b, c, d, h, w)`, finest first."""
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps


class FusedHead(nn.Module):
    """Fuse the streams' decoder outputs (`dim` channels together) into class logits at full resolution, linearly.

    Example: two (1, 24, 24, 24, 24) -> (1, 24, 24, 24, 48) -> (1, 48, 48, 48, 16) -> (1, 8, 48, 48, 48).
    """

    def __init__(self, dim: int, stride: Triple, *, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.expand = PatchExpanding(dim, channels, stride)
        self.act = nn.GELU()
        self.classify = nn.Conv3d(channels, num_classes, 1)

    def forward(self, streams: Sequence[Tensor], finer: Sequence[Sequence[Tensor]]) -> tuple[Tensor, list[Tensor]]:
        """Map streams `(b, d, h, w, c)` to logits `(b, classes, D, H, W)`; there are no finer maps."""
        assert not finer
        x: Tensor = self.act(self.expand(self.norm(torch.cat(tuple(streams), dim=-1))))
        logits: Tensor = self.classify(x.movedim(-1, 1))
        return logits.contiguous(), []


class ConvHead(nn.Module):
    """Fuse the streams and upsample them with their finer maps to class logits (not in the paper).

    Example: two (1, 10, 10, 10, 48), finer maps of two streams (1, 24, 20, 20, 20) and (1, 8, 40, 40, 40)
    -> (1, 96, 10, 10, 10) -> (1, 32, 20, 20, 20) -> (1, 16, 40, 40, 40) -> (1, 8, 40, 40, 40).
    """

    def __init__(
        self,
        dim: int,  # of all streams together
        *,
        channels: Sequence[int],  # of the fused maps, finest first
        skip_channels: Sequence[int],  # of the finer maps of all streams together, finest first
        strides: Sequence[Triple],  # from each map to the next coarser one; the last leads to the tokens
        num_classes: int,
    ) -> None:
        super().__init__()
        self.ups = nn.ModuleList(
            UpConvolution(before, after, skip, stride)
            for before, after, skip, stride in zip([*channels[1:], dim], channels, skip_channels, strides, strict=True)
        )
        self.classify = Conv1x1(channels[0], num_classes)

    def forward(self, streams: Sequence[Tensor], finer: Sequence[Sequence[Tensor]]) -> tuple[Tensor, list[Tensor]]:
        """Map streams `(b, d, h, w, c)` and finer maps `(b, s, D, H, W)`, per resolution, finest first, to logits.

        Returns:
            logits `(b, classes, D, H, W)`, and the coarser fused maps `(b, c, d, h, w)`, finest first.
        """
        x = torch.cat([to_map(stream) for stream in streams], dim=1)
        fused: list[Tensor] = []
        for up, maps in zip(reversed(list(self.ups)), reversed(list(finer)), strict=True):
            x = up(x, *maps)
            fused.insert(0, x)
        logits: Tensor = self.classify(x)
        return logits.contiguous(), fused[1:]


class AuxiliaryHeads(nn.Module):
    """Classify coarser maps for deep supervision: fused maps, then concatenated streams, each finest first."""

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.classify = nn.ModuleList(Conv1x1(c, num_classes) for c in channels)

    def forward(self, fused: Sequence[Tensor], streams: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Map fused maps `(b, c, d, h, w)` and levels of streams `(b, d, h, w, c)` to logits, finest first."""
        joined = [torch.cat([to_map(stream) for stream in level], dim=1) for level in streams]
        return [head(x) for head, x in zip(self.classify, [*fused, *joined], strict=True)]
