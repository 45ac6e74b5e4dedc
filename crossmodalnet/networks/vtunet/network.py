"""VT-UNet (Peiris et al., MICCAI 2022, arXiv 2111.13300): a U-Net of Swin blocks, decoder attending to encoder.

With `legacy` it computes what the published code (himashi92/VT-UNet) does at its input size; parameters have the
names and shapes of its `SwinTransformerSys3D`. Without, any input size works and three defects are fixed: the
decoder's query is scaled once, clipped windows get the bias of the right displacements, and padding is masked.
Initial weights are PyTorch's defaults: the published code never calls its own initialisation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from crossmodalnet.networks.common.build import named_size
from crossmodalnet.networks.common.sizes import IN_CHANNELS, Triple
from crossmodalnet.networks.common.wrappers import PatchExpanding, checkpoint_blocks
from crossmodalnet.networks.vtunet.blocks import PatchMerge, VTBlock, VTPatchEmbed, VTStage


@dataclass(frozen=True)
class VTUNetConfig:
    """Define a named size of VT-UNet; tuples have one entry per level, finest first."""

    channels: int  # at the finest level, doubled at each next one
    patch_embedding: Triple = (4, 4, 4)  # voxels per token and axis
    depths: tuple[int, ...] = (2, 2, 2, 1)  # blocks of encoder and decoder; the last level is the bottleneck
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: Triple = (7, 7, 7)
    mlp_ratio: float = 4.0
    drop_path: float = 0.2  # at the bottleneck, rising linearly from 0
    alpha: float = 0.3  # weight of the decoder's cross attention, as published in version 2; 0.5 in version 1

    def dim(self, level: int) -> int:
        """Return the channels of a level."""
        return self.channels << level


# Published names: small and base (c48, c72) in version 2; tiny, small and base in version 1.
SIZES: dict[str, VTUNetConfig] = {
    "c48": VTUNetConfig(channels=48),
    "c72": VTUNetConfig(channels=72),
    "c96": VTUNetConfig(channels=96),
    # c48 for maps of 10^3 tokens: windows divide them, and there is no fourth level (10 x 2 x 2 tokens).
    "small": VTUNetConfig(channels=48, depths=(2, 2, 1), heads=(3, 6, 12), window=(5, 5, 5), drop_path=0.0),
}


def build_vtunet(config: Mapping[str, Any], patch_size: Triple, num_classes: int) -> "VTUNet":
    """Build VT-UNet; `legacy` reproduces the published code."""
    size = named_size("vtunet", config, SIZES, "checkpointing", "legacy")
    network = VTUNet(size, num_classes, legacy=config["legacy"])
    if config["checkpointing"]:
        checkpoint_blocks(network, (VTBlock,))
    return network


class VTUNet(nn.Module):
    """Segment two-channel inputs of any size with VT-UNet.

    Example (c48): x (1, 2, 128, 128, 128) -> tokens (1, 32, 32, 32, 48) -> (1, 32, 16, 16, 96)
    -> (1, 32, 8, 8, 192) -> bottleneck (1, 32, 4, 4, 384) -> back up, fused at each level with the input of
    the encoder's stage -> (1, 32, 32, 32, 48) -> (1, 128, 128, 128, 48) -> (1, 8, 128, 128, 128).
    """

    def __init__(self, config: VTUNetConfig, num_classes: int, *, legacy: bool) -> None:
        super().__init__()
        last = len(config.depths) - 1
        self.patch_embed = VTPatchEmbed(IN_CHANNELS, config.channels, config.patch_embedding)
        self.layers = nn.ModuleList(
            VTStage(
                _blocks(config, level, legacy=legacy),
                downsample=PatchMerge(config.dim(level)) if level < last else None,
            )
            for level in range(last + 1)
        )
        # As published, the first entry is the bottleneck's: indices are part of parameter names.
        self.layers_up = nn.ModuleList([_expand(config.dim(last))])
        self.concat_back_dim = nn.ModuleList([nn.Identity()])
        for level in reversed(range(last)):
            self.layers_up.append(
                VTStage(_blocks(config, level, legacy=legacy), upsample=_expand(config.dim(level)) if level else None)
            )
            self.concat_back_dim.append(nn.Linear(2 * config.dim(level), config.dim(level), bias=False))
        self.norm = nn.LayerNorm(config.dim(last))
        self.norm_up = nn.LayerNorm(config.channels)
        self.up = PatchExpanding(config.channels, config.channels, config.patch_embedding)
        self.output = nn.Conv3d(config.channels, num_classes, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Segment `(b, 2, D, H, W)` into logits `(b, num_classes, D, H, W)`.

        Raises:
            ValueError: the input does not have two channels.
        """
        if x.ndim != 5 or x.shape[1] != IN_CHANNELS:
            raise ValueError(f"input must be (batch, 2, depth, height, width), got {tuple(x.shape)}")
        d, h, w = x.shape[2:]
        logits: Tensor = self.output(self.up(self._tokens(x)).movedim(-1, 1))
        return logits[:, :, :d, :h, :w]

    def _tokens(self, x: Tensor) -> Tensor:
        """Return the decoder's tokens `(b, d, h, w, channels)`."""
        x = self.patch_embed(x)
        skips, memories = [], []
        for layer in self.layers:
            skips.append(x)
            x, made = layer(x)
            memories.append(made)
        x = self.layers_up[0](self.norm(x))
        joins = zip(self.layers_up[1:], self.concat_back_dim[1:], skips[-2::-1], memories[-2::-1], strict=True)
        for layer_up, join, skip, memory in joins:
            x = x[:, :, : skip.shape[2], : skip.shape[3]]  # the encoder may have padded an odd axis
            x, _ = layer_up(join(torch.cat((x, skip), dim=-1)), memory)
        return self.norm_up(x)


def _blocks(config: VTUNetConfig, level: int, *, legacy: bool) -> list[VTBlock]:
    """Build the blocks of a level; encoder and decoder have the same drop-path rates."""
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


def _expand(dim: int) -> PatchExpanding:
    return PatchExpanding(dim, dim // 2, (1, 2, 2))  # along H and W only
