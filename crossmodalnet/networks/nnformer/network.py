"""nnFormer (Zhou et al., arXiv:2109.03201): the three published networks, for any input size."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from torch import Tensor, nn

from crossmodalnet.networks.common.build import named_size
from crossmodalnet.networks.common.sizes import IN_CHANNELS, Triple
from crossmodalnet.networks.common.swin import PreNormBlock, WindowRule
from crossmodalnet.networks.common.wrappers import checkpoint_blocks
from crossmodalnet.networks.nnformer.layers import (
    DecoderStage,
    Downsample,
    Embedding,
    EncoderStage,
    NNFormerHead,
    Upsample,
)

CUBE: Triple = (2, 2, 2)
ONES: Triple = (1, 1, 1)


@dataclass(frozen=True)
class NNFormerConfig:
    """Define a named size of nnFormer; lists have one entry per level, finest first."""

    channels: int  # at the finest level, doubled at each next one
    heads: tuple[int, ...]
    decoder_heads: tuple[int, ...]  # one entry fewer
    stem_strides: tuple[Triple, Triple]  # their product is the voxels per token and axis
    windows: tuple[Triple, ...]  # tokens per axis
    depths: tuple[int, ...] = (2, 2, 2, 2)  # blocks of encoder and decoder, which share the deepest level
    strides: tuple[Triple, ...] = (CUBE,) * 3  # from each level to the next
    paddings: tuple[Triple, ...] = (ONES,) * 3  # of the convolutions with these strides
    deep_supervision: bool = True  # allow auxiliary heads, as in the published network
    shift_mask: bool = True  # see `WindowRule`

    @property
    def num_levels(self) -> int:
        """Count the levels of the encoder, the deepest included."""
        return len(self.depths)

    @property
    def patch(self) -> Triple:
        """Return the voxels per token and axis at the finest level."""
        d, h, w = (a * b for a, b in zip(*self.stem_strides, strict=True))
        return d, h, w

    def maps(self, size: tuple[int, ...]) -> list[Triple]:
        """List the tokens per axis of each level for an input of `size` voxels."""
        d, h, w = (ceil(n / p) for n, p in zip(size, self.patch, strict=True))
        maps: list[Triple] = [(d, h, w)]
        for stride, padding in zip(self.strides, self.paddings, strict=True):
            d, h, w = (
                ceil(n / s) if p or s == 1 else max(n // s, 1)
                for n, s, p in zip(maps[-1], stride, padding, strict=True)
            )
            maps.append((d, h, w))
        return maps


SIZES = {
    "synapse": NNFormerConfig(
        channels=192,
        heads=(6, 12, 24, 48),
        decoder_heads=(6, 12, 24),
        stem_strides=((2, 2, 2), (1, 2, 2)),
        windows=((4, 4, 4), (4, 4, 4), (8, 8, 8), (4, 4, 4)),
    ),
    "tumor": NNFormerConfig(
        channels=96,
        heads=(3, 6, 12, 24),
        decoder_heads=(6, 12, 24),
        stem_strides=((2, 2, 2), (2, 2, 2)),
        windows=((4, 4, 4), (4, 4, 4), (8, 8, 8), (4, 4, 4)),
        deep_supervision=False,
    ),
    "acdc": NNFormerConfig(
        channels=96,
        heads=(3, 6, 12, 24),
        decoder_heads=(3, 6, 12),
        stem_strides=((1, 2, 2), (1, 2, 2)),
        windows=((3, 5, 5), (3, 5, 5), (7, 10, 10), (3, 5, 5)),
        strides=((1, 2, 2), (2, 2, 2), (2, 2, 2)),
        paddings=((0, 1, 1), (1, 1, 1), (0, 1, 1)),
        deep_supervision=False,
        shift_mask=False,
    ),
    "small": NNFormerConfig(
        channels=32,
        heads=(1, 2, 4, 8),
        decoder_heads=(1, 2, 4),
        stem_strides=((2, 2, 2), (1, 1, 1)),
        windows=((4, 4, 4), (5, 5, 5), (5, 5, 5), (3, 3, 3)),
    ),
}


DROP_PATH = 0.2


class Encoder(nn.Module):
    """Embed the input and apply self-attention at each level; every level's output is normalised."""

    def __init__(self, config: NNFormerConfig, rules: list[WindowRule]) -> None:
        super().__init__()
        self.patch_embed = Embedding(IN_CHANNELS, config.channels, config.stem_strides)
        rates = iter(_drop_paths(sum(config.depths)))
        self.layers = nn.ModuleList()
        for level, (depth, num_heads, rule) in enumerate(zip(config.depths, config.heads, rules, strict=True)):
            dim = config.channels << level
            blocks = [
                PreNormBlock(dim, num_heads, rule, shifted=bool(i % 2), drop_path=next(rates)) for i in range(depth)
            ]
            last = level == config.num_levels - 1
            down = None if last else Downsample(dim, config.strides[level], config.paddings[level])
            self.layers.append(EncoderStage(blocks, down))
            self.add_module(f"norm{level}", nn.LayerNorm(dim))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map `(b, 2, D, H, W)` to the maps `(b, d, h, w, c)` of all levels, finest first."""
        x = self.patch_embed(x)
        maps: list[Tensor] = []
        for level, stage in enumerate(self.layers):
            x = stage(x)
            maps.append(self.get_submodule(f"norm{level}")(x))
            if isinstance(stage.downsample, Downsample):
                x = stage.downsample(x)
        return maps


class Decoder(nn.Module):
    """Upsample with skip attention at each level."""

    def __init__(self, config: NNFormerConfig, rules: list[WindowRule]) -> None:
        super().__init__()
        depths = config.depths[:-1]
        rates = _drop_paths(sum(depths))
        self.layers = nn.ModuleList()
        for level, (depth, num_heads, rule) in enumerate(zip(depths, config.decoder_heads, rules[:-1], strict=True)):
            dim = config.channels << level
            # Rates rise from the deepest level to the finest.
            of_level = rates[sum(depths[level + 1 :]) :][:depth]
            blocks = [
                PreNormBlock(dim, num_heads, rule, shifted=i > 0, from_skip=i == 0, drop_path=rate)
                for i, rate in enumerate(of_level)
            ]
            up = Upsample(2 * dim, config.strides[level])
            self.layers.append(DecoderStage(up, blocks))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Map the encoder's levels to the decoder's, one fewer, both finest first."""
        x = maps[-1]
        outs: list[Tensor] = []
        for stage, skip in zip(reversed(self.layers), reversed(maps[:-1]), strict=True):
            x = stage(x, skip)
            outs.append(x)
        return outs[::-1]


class NNFormer(nn.Module):
    """Segment with a U-shaped transformer with convolutional embedding and skip attention.

    Inputs are padded to whole tokens. Padding and tokens that a shift brings together are masked; clipped windows
    keep the biases of their relative positions.

    Example (synapse): x (1, 2, 64, 128, 128) -> tokens (1, 32, 32, 32, 192) -> 16^3 x 384 -> 8^3 x 768
    -> 4^3 x 1536 -> up again to 32^3 x 192 -> logits (1, 8, 64, 128, 128), and in training also
    (1, 8, 32, 64, 64) and (1, 8, 16, 32, 32).
    """

    def __init__(
        self,
        config: NNFormerConfig,
        num_classes: int,
        crop: Triple,  # input size, voxels, for which a legacy network cuts its windows
        *,
        legacy: bool = False,  # reproduce the published networks, see `WindowRule`
        deep_supervision: bool = True,  # add heads at all decoder levels, if the config allows it
    ) -> None:
        super().__init__()
        self.config = config
        rules = [WindowRule(window, legacy, config.shift_mask) for window in config.windows]
        if legacy:
            # The published position tables span the windows of the crop.
            cuts = [rule.cut(size, shifted=False)[0] for rule, size in zip(rules, config.maps(crop), strict=True)]
            rules = [WindowRule(window, legacy, config.shift_mask) for window in cuts]
        self.model_down = Encoder(config, rules)
        self.decoder = Decoder(config, rules)
        self.deep_supervision = deep_supervision and config.deep_supervision
        num_heads = config.num_levels - 1 if self.deep_supervision else 1
        self.final = nn.ModuleList(
            NNFormerHead(config.channels << level, num_classes, config.patch) for level in range(num_heads)
        )

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Map `(b, 2, d, h, w)` to logits `(b, num_classes, d, h, w)`.

        In training with deep supervision it returns a list, finest first: level l has `ceil(n / s)` of n voxels per
        axis, where s is the product of the strides down to l.
        """
        size = tuple(x.shape[2:])
        extra = [-n % p for n, p in zip(size, self.config.patch, strict=True)]
        if any(extra):
            x = nn.functional.pad(x, [e for far in reversed(extra) for e in (0, far)])
        maps = self.decoder(self.model_down(x))
        if not (self.training and self.deep_supervision):
            return _crop(self.final[0](maps[0]), size, (1, 1, 1))
        totals = np.cumprod([(1, 1, 1), *self.config.strides[:-1]], axis=0).tolist()
        return [_crop(h(m), size, s) for h, m, s in zip(self.final, maps, totals, strict=True)]


def _crop(logits: Tensor, size: tuple[int, ...], stride: Triple) -> Tensor:
    d, h, w = (ceil(n / s) for n, s in zip(size, stride, strict=True))
    return logits[:, :, :d, :h, :w]


def _drop_paths(num_blocks: int) -> list[float]:
    return [DROP_PATH * i / max(num_blocks - 1, 1) for i in range(num_blocks)]


def build_nnformer(config: Mapping[str, Any], patch_size: Triple, num_classes: int) -> NNFormer:
    """Build nnFormer; `legacy` reproduces the published code, whose position tables depend on `patch_size`."""
    size = named_size("nnformer", config, SIZES, "legacy", "deep_supervision", "checkpointing")
    deep, legacy = config["deep_supervision"], config["legacy"]
    network = NNFormer(size, num_classes, patch_size, legacy=legacy, deep_supervision=deep)
    if config["checkpointing"]:
        checkpoint_blocks(network, (PreNormBlock,))
    return network
