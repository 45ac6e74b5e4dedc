"""PrimusV2 (Wald et al., arXiv 2503.01835): a plain transformer behind a convolutional patch embedding.

The transformer and the decoder are from nnU-Net's library. Its own PrimusV2 (0.4.4) allows no present timm, whose
rotary embedding takes two axes only, so this embedding and the convolutions are put together here, as there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from dynamic_network_architectures.architectures.primus import Primus
from dynamic_network_architectures.building_blocks.eva import EvaBlock
from dynamic_network_architectures.building_blocks.residual import StackedResidualBlocks
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from timm.layers import build_rotary_pos_embed
from torch import Tensor, nn

from crossmodalnet.networks.common.build import named_size
from crossmodalnet.networks.common.sizes import IN_CHANNELS, Triple, padded_size
from crossmodalnet.networks.common.wrappers import PaddedNetwork, checkpoint_blocks


@dataclass(frozen=True)
class PrimusConfig:
    """Define a named size of PrimusV2."""

    dim: int  # channels of the tokens; per head a multiple of 6, for the rotary position
    depth: int
    heads: int
    channels: int = 32  # of the patch embedding at full resolution
    halvings: int = 3  # of the patch embedding: tokens of 8 voxels per axis


SIZES: dict[str, PrimusConfig] = {
    "s": PrimusConfig(396, 12, 6),
    "b": PrimusConfig(792, 12, 12),
    "m": PrimusConfig(864, 16, 12),
    "l": PrimusConfig(1056, 24, 16),
    "small": PrimusConfig(192, 6, 4, channels=12, halvings=2),
}


class RotaryPositions(nn.Module):
    """Hold the rotary position embedding of a map of tokens, sines then cosines: `(n, 2 * channels per head)`."""

    def __init__(self, dim: int, feat_shape: Triple, **options: Any) -> None:
        super().__init__()
        embedding = torch.cat(build_rotary_pos_embed(list(feat_shape), dim=dim, **options), dim=-1)
        self.register_buffer("embedding", embedding, persistent=False)

    def get_embed(self) -> Tensor:
        """Return the embedding; the transformer calls this by name."""
        return cast(Tensor, self.embedding)


def build_primus(config: Mapping[str, Any], patch_size: Triple, num_classes: int) -> nn.Module:
    """Build PrimusV2 for inputs of at most `patch_size` voxels, since each token has a learned position."""
    size = named_size("primus", config, SIZES, "checkpointing")
    stride = 2**size.halvings
    whole = padded_size(patch_size, (stride, stride, stride))
    network = Primus(
        IN_CHANNELS,
        size.dim,
        (stride, stride, stride),
        num_classes,
        eva_depth=size.depth,
        eva_numheads=size.heads,
        input_shape=whole,
        rope_impl=RotaryPositions,
        init_values=0.1,
        scale_attn_inner=True,
    )
    network.down_projection = _embedding(size)
    if config["checkpointing"]:
        checkpoint_blocks(network, (EvaBlock,))
    return PaddedNetwork(network, whole)


def _embedding(size: PrimusConfig) -> nn.Module:
    """Make the patch embedding: residual blocks, the first at full resolution, each next one at half of it."""
    stages, channels = [_block(IN_CHANNELS, size.channels, 1)], size.channels
    for level in range(size.halvings):
        stages.append(_block(channels, size.channels << level, 2))
        channels = size.channels << level
    return nn.Sequential(*stages, nn.Conv3d(channels, size.dim, 1)).apply(InitWeights_He(1e-2))


def _block(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    block = StackedResidualBlocks(
        1,
        nn.Conv3d,
        in_channels,
        out_channels,
        3,
        stride,
        conv_bias=stride == 1,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.ReLU,
        nonlin_kwargs={"inplace": True},
    )
    return cast(nn.Module, block)
