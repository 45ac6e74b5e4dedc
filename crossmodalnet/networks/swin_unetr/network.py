"""Swin UNETR (Hatamizadeh et al., BrainLes 2021, arXiv 2201.01266) and its V2 (He et al., MICCAI 2023), from MONAI.

MONAI's network has two flaws. On maps smaller than the window, most pairs of tokens get another pair's position
bias (`[:n, :n]` of the whole table). Without a shift, tokens attend to padding. The small size avoids both: it has
three halvings, and windows of 5 divide its maps of 20^3 and 10^3 tokens. The published layout has five halvings and
would pad a patch of 40^3 voxels to 64^3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from monai.networks.blocks import PatchEmbed, UnetOutBlock, UnetrBasicBlock, UnetrUpBlock
from monai.networks.nets.swin_unetr import BasicLayer, PatchMerging, SwinUNETR
from torch import Tensor, nn

from crossmodalnet.networks.common.build import named_size
from crossmodalnet.networks.common.sizes import IN_CHANNELS, Triple
from crossmodalnet.networks.common.wrappers import PaddedNetwork


class ShallowSwinUNETR(nn.Module):
    """Segment with Swin UNETR of as many stages as `depths` has; with four it is MONAI's, whose arguments it takes.

    Example: features 16, two stages; x (1, 2, 40, 40, 40) -> embedded (1, 16, 20, 20, 20)
    -> stages (1, 32, 10, 10, 10), (1, 64, 5, 5, 5) -> decoders to (1, 16, 40, 40, 40) -> (1, 8, 40, 40, 40).
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        depths: Sequence[int],
        num_heads: Sequence[int],
        window_size: int,
        feature_size: int,  # channels of the tokens (2 voxels per axis), doubled by each stage
        use_checkpoint: bool,
        use_v2: bool,  # a residual convolution block before each stage
    ) -> None:
        super().__init__()
        dims = [feature_size << level for level in range(len(depths) + 1)]
        self.patch_embed = PatchEmbed(patch_size=2, in_chans=in_channels, embed_dim=feature_size, norm_layer=None)
        self.stages = nn.ModuleList(
            BasicLayer(
                dim=dim,
                depth=depth,
                num_heads=heads,
                window_size=(window_size, window_size, window_size),
                drop_path=[0.0] * depth,
                qkv_bias=True,
                downsample=PatchMerging,
                use_checkpoint=use_checkpoint,
            )
            for dim, depth, heads in zip(dims[:-1], depths, num_heads, strict=True)
        )
        self.convolutions = nn.ModuleList(_residual(dim, dim) if use_v2 else nn.Identity() for dim in dims[:-1])
        # As published, the skip next to the bottleneck has no convolutions.
        self.encoders = nn.ModuleList(
            _residual(a, b) for a, b in zip([in_channels, *dims], [feature_size, *dims[:-2]], strict=False)
        )
        self.bottleneck = _residual(dims[-1], dims[-1])
        self.decoders = nn.ModuleList(
            UnetrUpBlock(3, a, b, kernel_size=3, upsample_kernel_size=2, norm_name="instance", res_block=True)
            for a, b in zip([*dims[:0:-1], feature_size], [*dims[-2::-1], feature_size], strict=True)
        )
        self.out = UnetOutBlock(3, feature_size, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, in_channels, d, h, w)`, multiples of `2 ** (stages + 1)`, to logits of that size."""
        hidden = self.patch_embed(x)
        maps = [x, _normalised(hidden)]
        for convolution, stage in zip(self.convolutions, self.stages, strict=True):
            hidden = stage(convolution(hidden).contiguous())
            maps.append(_normalised(hidden))
        skips = [encoder(map_) for encoder, map_ in zip(self.encoders, maps, strict=False)]
        skips.append(maps[-2])
        out: Tensor = self.bottleneck(maps[-1])
        for decoder, skip in zip(self.decoders, reversed(skips), strict=True):
            out = decoder(out, skip)
        return self.out(out)


def _residual(in_channels: int, out_channels: int) -> nn.Module:
    return UnetrBasicBlock(3, in_channels, out_channels, kernel_size=3, stride=1, norm_name="instance", res_block=True)


def _normalised(x: Tensor) -> Tensor:
    """Normalise each token of `(b, c, d, h, w)` over its channels, without learned scale."""
    return nn.functional.layer_norm(x.movedim(1, -1), [x.shape[1]]).movedim(-1, 1)


PUBLISHED_STAGES = 4


@dataclass(frozen=True)
class SwinUNETRConfig:
    """Define a named size of Swin UNETR; lists have one entry per stage of Swin blocks, finest first."""

    features: int  # channels after patch embedding and at full resolution, doubled by each stage
    depths: tuple[int, ...] = (2, 2, 2, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    v2: bool = False


_SMALL = SwinUNETRConfig(16, depths=(2, 2), heads=(2, 4), window=5)
SIZES: dict[str, SwinUNETRConfig] = {
    "f48": SwinUNETRConfig(48),
    "f24": SwinUNETRConfig(24),
    "v2": SwinUNETRConfig(48, v2=True),
    "small": _SMALL,
    "small_v2": replace(_SMALL, v2=True),
}


def build_swin_unetr(config: Mapping[str, Any], patch_size: Triple, num_classes: int) -> nn.Module:
    """Build Swin UNETR."""
    size = named_size("swin_unetr", config, SIZES, "checkpointing")
    multiple = 2 ** (len(size.depths) + 1)
    kind = SwinUNETR if len(size.depths) == PUBLISHED_STAGES else ShallowSwinUNETR
    network = kind(
        IN_CHANNELS,
        num_classes,
        depths=size.depths,
        num_heads=size.heads,
        window_size=size.window,
        feature_size=size.features,
        use_checkpoint=config["checkpointing"],
        use_v2=size.v2,
    )
    return PaddedNetwork(network, (multiple, multiple, multiple), minimum=(1, 1, 2 * multiple))
