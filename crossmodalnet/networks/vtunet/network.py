"""VT-UNet (Peiris et al., MICCAI 2022, arXiv 2111.13300): a U-Net of Swin blocks, decoder attending to encoder.

Written anew for any input size. With `legacy` it computes what the published code (himashi92/VT-UNet) does at
the size that takes; parameters have the names and shapes of its `SwinTransformerSys3D`, so that its weights
fit. Without, three defects of that code are mended: the decoder's query is scaled once, windows clipped to
their map get the bias of the right displacements, and nothing attends to the padding of a window.
Weights start as PyTorch's layers draw them: the published code has an initialisation but never calls it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from crossmodalnet.networks.common.build import named_size
from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.vtunet.blocks import (
    FinalExpand,
    PatchExpand,
    PatchMerge,
    VTBlock,
    VTPatchEmbed,
    VTStage,
)

IN_CHANNELS = 2


@dataclass(frozen=True)
class VTUNetConfig:
    """Size of a VT-UNet; tuples have one entry per level, finest first.

    Attributes:
        channels: channels at the finest level, doubled at each next one.
        patch_embedding: voxels per token and axis.
        depths: blocks per level, in the decoder as in the encoder; the last level is the bottleneck.
        heads: heads of every attention, per level.
        drop_path: probability of skipping a branch, rising linearly to this value at the bottleneck.
        alpha: weight of the decoder's cross attention: 0.3 in version 2 of the published code, 0.5 in 1.
    """

    channels: int
    patch_embedding: Triple = (4, 4, 4)
    depths: tuple[int, ...] = (2, 2, 2, 1)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: Triple = (7, 7, 7)
    mlp_ratio: float = 4.0
    drop_path: float = 0.2
    alpha: float = 0.3

    def dim(self, level: int) -> int:
        """Channels of a level."""
        return self.channels << level


# Version 2 names c48 small and c72 base; version 1 names the three tiny, small and base.
SIZES: dict[str, VTUNetConfig] = {
    "c48": VTUNetConfig(channels=48),
    "c72": VTUNetConfig(channels=72),
    "c96": VTUNetConfig(channels=96),
    # c48 for maps of 10^3 tokens: windows that divide them, and no fourth level, which would have 10 x 2 x 2.
    "small": VTUNetConfig(channels=48, depths=(2, 2, 1), heads=(3, 6, 12), window=(5, 5, 5), drop_path=0.0),
}


def build_vtunet(config: Mapping[str, Any], patch_size: Triple, num_classes: int) -> "VTUNet":
    """Build VT-UNet; `legacy` computes as the published code does."""
    size = named_size("vtunet", config, SIZES, "checkpointing", "legacy")
    return VTUNet(size, num_classes, checkpointing=config["checkpointing"], legacy=config["legacy"])


class VTUNet(nn.Module):
    """VT-UNet for inputs of two channels and any size.

    Example (c48): x (1, 2, 128, 128, 128) -> tokens (1, 32, 32, 32, 48) -> (1, 32, 16, 16, 96)
    -> (1, 32, 8, 8, 192) -> bottleneck (1, 32, 4, 4, 384) -> back up, joined at each level with what entered
    the encoder's stage there -> (1, 32, 32, 32, 48) -> (1, 128, 128, 128, 48) -> (1, 8, 128, 128, 128).

    Args:
        legacy: compute as the published code does.
    """

    def __init__(self, config: VTUNetConfig, num_classes: int, *, checkpointing: bool, legacy: bool) -> None:
        super().__init__()
        last = len(config.depths) - 1
        self.patch_embed = VTPatchEmbed(IN_CHANNELS, config.channels, config.patch_embedding)
        self.layers = nn.ModuleList(
            VTStage(
                _blocks(config, level, legacy=legacy),
                downsample=PatchMerge(config.dim(level)) if level < last else None,
                checkpointing=checkpointing,
            )
            for level in range(last + 1)
        )
        # The lists start with what leaves the bottleneck, as published: the numbers are part of the names.
        self.layers_up = nn.ModuleList([PatchExpand(config.dim(last))])
        self.concat_back_dim = nn.ModuleList([nn.Identity()])
        for level in reversed(range(last)):
            self.layers_up.append(
                VTStage(
                    _blocks(config, level, legacy=legacy),
                    upsample=PatchExpand(config.dim(level)) if level else None,
                    checkpointing=checkpointing,
                )
            )
            self.concat_back_dim.append(nn.Linear(2 * config.dim(level), config.dim(level), bias=False))
        self.norm = nn.LayerNorm(config.dim(last))
        self.norm_up = nn.LayerNorm(config.channels)
        self.up = FinalExpand(config.channels, config.patch_embedding)
        self.output = nn.Conv3d(config.channels, num_classes, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Segment `(b, 2, D, H, W)` into logits `(b, num_classes, D, H, W)`.

        Raises:
            ValueError: not two channels.
        """
        if x.ndim != 5 or x.shape[1] != IN_CHANNELS:
            raise ValueError(f"input must be (batch, 2, depth, height, width), got {tuple(x.shape)}")
        d, h, w = x.shape[2:]
        logits: Tensor = self.output(self.up(self._tokens(x)).movedim(-1, 1))
        return logits[:, :, :d, :h, :w]

    def _tokens(self, x: Tensor) -> Tensor:
        """Give the tokens `(b, d, h, w, channels)` from which the logits are made."""
        x = self.patch_embed(x)
        skips, memories = [], []
        for layer in self.layers:
            skips.append(x)
            x, made = layer(x)
            memories.append(made)
        x = self.layers_up[0](self.norm(x))
        joins = zip(
            self.layers_up[1:], self.concat_back_dim[1:], skips[-2::-1], memories[-2::-1], strict=True
        )
        for layer_up, join, skip, memory in joins:
            # Where the encoder filled up an odd axis, the expanded map is one token longer.
            x = x[:, :, : skip.shape[2], : skip.shape[3]]
            x, _ = layer_up(join(torch.cat((x, skip), dim=-1)), memory)
        return self.norm_up(x)


def _blocks(config: VTUNetConfig, level: int, *, legacy: bool) -> list[VTBlock]:
    """Make the blocks of a level; those of encoder and decoder are skipped at the same rates."""
    deepest = sum(config.depths) - 1
    first = sum(config.depths[:level])
    return [
        VTBlock(
            config.dim(level),
            config.heads[level],
            config.window,
            shifted=i % 2 == 1,
            mlp_ratio=config.mlp_ratio,
            drop_path=config.drop_path * (first + i) / deepest,
            alpha=config.alpha,
            legacy=legacy,
        )
        for i in range(config.depths[level])
    ]
