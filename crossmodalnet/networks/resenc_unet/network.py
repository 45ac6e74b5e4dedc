"""Residual-encoder U-Net as nnU-Net plans it (Isensee et al., MICCAI 2024, arXiv 2404.09556).

The network is from nnU-Net's library; the plan is ResEnc M. Differences: all outputs of deep supervision enter the
loss (nnU-Net gives the coarsest weight 0); modules are registered once, so weights are stored once; residual branches
start at 0.001, not 0, so that every parameter has a gradient from the first step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from dynamic_network_architectures.building_blocks.residual import BasicBlockD
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU, StackedConvBlocks
from torch import Tensor, nn

from crossmodalnet.networks.common.build import named_size
from crossmodalnet.networks.common.sizes import IN_CHANNELS, Triple
from crossmodalnet.networks.common.wrappers import PaddedNetwork, checkpoint_blocks

MIN_EDGE = 4  # voxels per axis of the coarsest map, as nnU-Net's UNet_featuremap_min_edge_length


@dataclass(frozen=True)
class ResEncUNetConfig:
    """Define a named size; the number of stages follows from the patch."""

    channels: int  # at the finest stage, doubled at each next one
    max_channels: int
    blocks: tuple[int, ...]  # residual blocks of the encoder's stages, finest first; the last entry repeats

    def channels_at(self, stage: int) -> int:
        """Return the channels of `stage`."""
        return min(self.channels << stage, self.max_channels)


SIZES: dict[str, ResEncUNetConfig] = {
    "m": ResEncUNetConfig(channels=32, max_channels=320, blocks=(1, 3, 4, 6)),
    "small": ResEncUNetConfig(channels=16, max_channels=320, blocks=(1, 2, 2, 2)),
}


def plan_strides(patch_size: Triple) -> list[Triple]:
    """Plan the stages' strides for a patch of isotropic voxels, as nnU-Net does.

    Each stage but the first halves the axes with at least 8 voxels left; a single such axis must have 12. (nnU-Net's
    rules about spacing do nothing for isotropic voxels.)

    Example: (128, 128, 128) -> 6 stages, coarsest map 4^3; (40, 40, 40) -> 4 stages, coarsest map 5^3.

    Raises:
        ValueError: the patch is too small for two stages.
    """
    size = list(patch_size)
    strides: list[Triple] = [(1, 1, 1)]
    while long := [n for n in size if n >= 2 * MIN_EDGE]:
        if len(long) == 1 and long[0] < 3 * MIN_EDGE:
            break
        d, h, w = (2 if n >= 2 * MIN_EDGE else 1 for n in size)
        strides.append((d, h, w))
        size = [ceil(n / s) for n, s in zip(size, strides[-1], strict=True)]
    if len(strides) == 1:
        raise ValueError(
            f"patch size must have two axes of {2 * MIN_EDGE} voxels or one of {3 * MIN_EDGE}, got {patch_size}"
        )
    return strides


class ResEncUNet(ResidualEncoderUNet):  # type: ignore[misc]
    """Run nnU-Net's network, with outputs of deep supervision in training mode only."""

    def __init__(
        self, size: ResEncUNetConfig, strides: list[Triple], num_classes: int, *, deep_supervision: bool
    ) -> None:
        stages = range(len(strides))
        super().__init__(
            IN_CHANNELS,
            len(strides),
            [size.channels_at(stage) for stage in stages],
            nn.Conv3d,
            [(3, 3, 3) for _ in stages],
            strides,
            [size.blocks[min(stage, len(size.blocks) - 1)] for stage in stages],
            num_classes,
            1,
            conv_bias=True,
            norm_op=nn.InstanceNorm3d,
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
            deep_supervision=deep_supervision,
        )
        self.apply(self.initialize)
        for module in self.modules():
            if isinstance(module, BasicBlockD):
                nn.init.constant_(module.conv2.norm.weight, 1e-3)
        if not deep_supervision:
            self.decoder.seg_layers = self.decoder.seg_layers[-1:]
        _register_once(self)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Map `(b, 2, d, h, w)` to logits of that size, or a list of them, finest first."""
        out: Tensor | list[Tensor] = super().forward(x)
        return out[0] if isinstance(out, list) and not self.training else out


def _register_once(network: ResEncUNet) -> None:
    """Drop the library's second names of the encoder and of parts of convolution blocks."""
    del network.decoder.encoder
    for module in network.modules():
        if isinstance(module, ConvDropoutNormReLU):
            for name in [name for name, _ in module.named_children() if name != "all_modules"]:
                delattr(module, name)


def build_resenc_unet(config: Mapping[str, Any], patch_size: Triple, num_classes: int) -> nn.Module:
    """Build the network that nnU-Net plans for a patch; deep supervision adds an output per decoder stage."""
    size = named_size("resenc_unet", config, SIZES, "deep_supervision", "checkpointing")
    strides = plan_strides(patch_size)
    network = ResEncUNet(size, strides, num_classes, deep_supervision=config["deep_supervision"])
    if config["checkpointing"]:
        checkpoint_blocks(network, (BasicBlockD, StackedConvBlocks))
    d, h, w = (prod(stride[axis] for stride in strides) for axis in range(3))
    return PaddedNetwork(network, (d, h, w), minimum=(1, 1, 2 * w))
