"""Swin UNETR with any number of levels, from MONAI's parts: for patches too small for five halvings."""

from collections.abc import Sequence

from monai.networks.blocks import PatchEmbed, UnetOutBlock, UnetrBasicBlock, UnetrUpBlock
from monai.networks.nets.swin_unetr import BasicLayer, PatchMerging
from torch import Tensor, nn


class ShallowSwinUNETR(nn.Module):
    """Swin UNETR, whose four stages of Swin blocks become as many as `depths` has; with four it is MONAI's.

    Example: features 16, two stages; x (1, 2, 40, 40, 40) -> embedded (1, 16, 20, 20, 20)
    -> stages (1, 32, 10, 10, 10), (1, 64, 5, 5, 5) -> decoders to (1, 16, 40, 40, 40) -> (1, 8, 40, 40, 40).

    Args:
        in_channels: channels of the input.
        num_classes: number of classes, background included.
        features: channels after patch embedding (2 voxels per token and axis), doubled by each stage.
        depths: Swin blocks per stage, finest first.
        heads: heads of the attention, per stage.
        window: tokens per axis.
        checkpointing: recompute the Swin blocks' activations in the backward pass.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        features: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        dims = [features << level for level in range(len(depths) + 1)]
        self.patch_embed = PatchEmbed(patch_size=2, in_chans=in_channels, embed_dim=features, norm_layer=None)
        self.stages = nn.ModuleList(
            BasicLayer(
                dim=dim,
                depth=depth,
                num_heads=num_heads,
                window_size=(window, window, window),
                drop_path=[0.0] * depth,
                qkv_bias=True,
                downsample=PatchMerging,
                use_checkpoint=checkpointing,
            )
            for dim, depth, num_heads in zip(dims[:-1], depths, heads, strict=True)
        )
        # The skip next to the bottleneck has no convolutions of its own, as in the published network.
        self.encoders = nn.ModuleList(
            _residual(a, b) for a, b in zip([in_channels, *dims], [features, *dims[:-2]], strict=False)
        )
        self.bottleneck = _residual(dims[-1], dims[-1])
        self.decoders = nn.ModuleList(
            UnetrUpBlock(3, a, b, kernel_size=3, upsample_kernel_size=2, norm_name="instance", res_block=True)
            for a, b in zip(dims[:0:-1], dims[-2::-1], strict=True)
        )
        self.decoders.append(
            UnetrUpBlock(
                3,
                features,
                features,
                kernel_size=3,
                upsample_kernel_size=2,
                norm_name="instance",
                res_block=True,
            )
        )
        self.out = UnetOutBlock(3, features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, in_channels, d, h, w)`, multiples of `2 ** (stages + 1)`, to logits of that size."""
        hidden = self.patch_embed(x)
        maps = [x, _normalised(hidden)]
        for stage in self.stages:
            hidden = stage(hidden.contiguous())
            maps.append(_normalised(hidden))
        skips = [encoder(map_) for encoder, map_ in zip(self.encoders, maps, strict=False)]
        skips.append(maps[-2])
        out: Tensor = self.bottleneck(maps[-1])
        for decoder, skip in zip(self.decoders, reversed(skips), strict=True):
            out = decoder(out, skip)
        logits: Tensor = self.out(out)
        return logits


def _residual(in_channels: int, out_channels: int) -> nn.Module:
    block: nn.Module = UnetrBasicBlock(
        3, in_channels, out_channels, kernel_size=3, stride=1, norm_name="instance", res_block=True
    )
    return block


def _normalised(x: Tensor) -> Tensor:
    """Normalise each token of `(b, c, d, h, w)` over its channels, without learned scale."""
    return nn.functional.layer_norm(x.movedim(1, -1), [x.shape[1]]).movedim(-1, 1)
