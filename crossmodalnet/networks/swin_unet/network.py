"""Swin-Unet (Cao et al., arXiv 2105.05537): a 2-D U-shaped network of Swin blocks, run slice by slice.

It takes any image size and equals the published network at 224x224. Swin's checkpoints load into the encoder. Patch
expanding: section 3.4.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from einops import rearrange
from timm.layers import trunc_normal_
from torch import Tensor, nn

from crossmodalnet.networks.common.build import named_size
from crossmodalnet.networks.common.sizes import IN_CHANNELS, Triple
from crossmodalnet.networks.common.swin import PreNormBlock, WindowRule
from crossmodalnet.networks.common.wrappers import PatchExpanding, checkpoint_blocks


@dataclass(frozen=True)
class SwinUnetConfig:
    """Define a named size of Swin-Unet; lists have one entry per level, finest first.

    Drop path rises linearly from 0 over the encoder's blocks to `drop_path`; decoder levels use the encoder's rates.
    """

    channels: int  # at the finest level, doubled at each next one
    depths: tuple[int, ...]  # Swin blocks, of the encoder and of the decoder
    heads: tuple[int, ...]
    patch: int  # pixels per token and axis
    window: int
    drop_path: float


SIZES: dict[str, SwinUnetConfig] = {
    "published": SwinUnetConfig(
        channels=96, depths=(2, 2, 2, 2), heads=(3, 6, 12, 24), patch=4, window=7, drop_path=0.2
    ),
    # Slices of 40x40 pixels give 20, 10 and 5 tokens: windows of 5 need no padding.
    "small": SwinUnetConfig(channels=24, depths=(2, 2, 2), heads=(2, 4, 8), patch=2, window=5, drop_path=0.1),
}


def build_swin_unet(config: Mapping[str, Any], patch_size: Triple, num_classes: int) -> nn.Module:
    """Build Swin-Unet."""
    network = SwinUnet(named_size("swin_unet", config, SIZES, "checkpointing"), num_classes)
    if config["checkpointing"]:
        checkpoint_blocks(network, (PreNormBlock,))
    return network


class SwinUnet(nn.Module):
    """Segment the axial slices of a volume, each by itself as a volume one token deep: the last axis joins the batch.

    The decoder takes the inputs of the encoder's blocks, as VT-UNet does.

    Example (published): (1, 2, 224, 224, 24) -> slices (24, 2, 224, 224) -> tokens (24, 1, 56, 56, 96) -> encoder
    (24, 1, 28, 28, 192), (24, 1, 14, 14, 384), (24, 1, 7, 7, 768) -> decoder, back to (24, 1, 56, 56, 96) -> expanded
    (24, 1, 224, 224, 96) -> (24, 8, 224, 224) -> (1, 8, 224, 224, 24).
    """

    def __init__(self, config: SwinUnetConfig, num_classes: int) -> None:
        super().__init__()
        levels = range(len(config.depths))
        self.patch_embed = SwinUnetPatchEmbed(IN_CHANNELS, config.channels, config.patch)
        self.layers = nn.ModuleList()
        for level in levels:
            blocks = _blocks(config, level)
            merging = PatchMerging2d(config.channels << level) if level < levels[-1] else nn.Identity()
            self.layers.append(nn.Sequential(OrderedDict(blocks=blocks, downsample=merging)))
        self.norm = nn.LayerNorm(config.channels << levels[-1])
        self.decoder = nn.ModuleList(
            DecoderLevel(config.channels << level, _blocks(config, level)) for level in reversed(levels[:-1])
        )
        self.decoder_norm = nn.LayerNorm(config.channels)
        self.expand = PatchExpanding(config.channels, config.channels, (1, config.patch, config.patch))
        self.output = nn.Conv2d(config.channels, num_classes, kernel_size=1, bias=False)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Map volumes `(b, 2, d, h, w)` to logits `(b, num_classes, d, h, w)`, each slice `[..., k]` alone."""
        slices = rearrange(x, "b c d h w -> (b w) c d h")
        return rearrange(self.forward_slices(slices), "(b w) c d h -> b c d h w", b=len(x))

    def forward_slices(self, x: Tensor) -> Tensor:
        """Map images `(n, 2, h, w)` to logits `(n, num_classes, h, w)`."""
        *_, height, width = x.shape
        x, skips = self.encode(x)
        for level, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
            x = level(x, skip)
        x = self.expand(self.decoder_norm(x))[:, 0]
        logits: Tensor = self.output(x.permute(0, 3, 1, 2))
        return logits[:, :, :height, :width]

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Map images to the normalised deepest map `(n, 1, h, w, c)` and each level's skip, finest first."""
        x = self.patch_embed(x)
        skips = []
        for level in self.layers:
            skips.append(x)
            x = level(x)
        return self.norm(x), skips


class SwinUnetPatchEmbed(nn.Module):
    """Embed square patches as normalised tokens; zeros at the far end pad images to whole patches.

    Example: patch 4; (24, 2, 224, 224) -> (24, 1, 56, 56, 96).
    """

    def __init__(self, in_channels: int, dim: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch, stride=patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, c, h, w)` to tokens `(n, 1, ceil(h / patch), ceil(w / patch), dim)`."""
        far_h, far_w = (-n % self.patch for n in x.shape[2:])
        x = self.proj(nn.functional.pad(x, (0, far_w, 0, far_h)))
        return self.norm(x.permute(0, 2, 3, 1))[:, None]


class PatchMerging2d(nn.Module):
    """Merge four neighbouring tokens into one of twice the channels; a zero token pads an odd axis.

    Example: (24, 1, 56, 56, 96) -> (24, 1, 28, 28, 384) -> (24, 1, 28, 28, 192).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, 1, h, w, c)` to `(n, 1, ceil(h / 2), ceil(w / 2), 2 c)`."""
        x = nn.functional.pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
        # Swin's order: down the first axis before the second.
        x = rearrange(x, "n d (h p) (w q) c -> n d h w (q p c)", p=2, q=2)
        return self.reduction(self.norm(x))


class DecoderLevel(nn.Module):
    """Expand the deeper map, fuse it with the encoder's and apply Swin blocks.

    Example: dim 384; x (24, 1, 7, 7, 768) -> (24, 1, 14, 14, 384), with the skip (24, 1, 14, 14, 768)
    -> (24, 1, 14, 14, 384).
    """

    def __init__(self, dim: int, blocks: nn.Sequential) -> None:
        super().__init__()
        self.expand = PatchExpanding(2 * dim, dim, (1, 2, 2))
        self.fuse = nn.Linear(2 * dim, dim)
        self.blocks = blocks

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map `(n, 1, ceil(h / 2), ceil(w / 2), 2 dim)` and the skip `(n, 1, h, w, dim)` to the skip's shape."""
        x = self.expand(x)[:, :, : skip.shape[2], : skip.shape[3]]
        return self.blocks(self.fuse(torch.cat([x, skip], dim=-1)))


def _blocks(config: SwinUnetConfig, level: int) -> nn.Sequential:
    """Build the blocks of one level, of the encoder or the decoder; every second one is shifted."""
    ends = list(accumulate(config.depths))
    rates = torch.linspace(0, config.drop_path, ends[-1], device="cpu").tolist()
    of_level = rates[ends[level] - config.depths[level] : ends[level]]
    dim, heads, rule = config.channels << level, config.heads[level], WindowRule((1, config.window, config.window))
    return nn.Sequential(
        *(PreNormBlock(dim, heads, rule, shifted=i % 2 == 1, drop_path=rate) for i, rate in enumerate(of_level))
    )


def _initialise(module: nn.Module) -> None:
    """Draw linear weights as Swin does; norms and convolutions keep PyTorch's initialisation."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
