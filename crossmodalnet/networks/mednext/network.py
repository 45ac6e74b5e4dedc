"""MedNeXt (Roy et al., MICCAI 2023, arXiv 2303.09975): a U-shaped network of ConvNeXt blocks, from MONAI.

MONAI's down blocks expand as their own level does; here, as published, as the level below. Parameter counts are the
published ones less 1, a dummy for the original's checkpointing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from monai.networks.blocks.mednext_block import MedNeXtBlock, MedNeXtDownBlock
from monai.networks.nets.mednext import MedNeXt
from torch import nn

from crossmodalnet.networks.common.build import named_size
from crossmodalnet.networks.common.sizes import IN_CHANNELS, Triple
from crossmodalnet.networks.common.wrappers import PaddedNetwork, checkpoint_blocks

KERNEL = 3


@dataclass(frozen=True)
class MedNeXtConfig:
    """Define a named size of MedNeXt; lists go down the encoder, through the bottleneck and up the decoder."""

    channels: int  # at the finest level, doubled at each next one
    expansion: tuple[int, ...]  # hidden channels of the blocks relative to their channels
    blocks: tuple[int, ...]  # without down, up and bottleneck blocks
    v2: bool = False  # global response normalisation in every block (MedNeXt-v2, Roy et al., arXiv 2512.17774)

    @property
    def num_halvings(self) -> int:
        """Count the halvings of the resolution in the encoder."""
        return len(self.blocks) // 2


_B = (2, 3, 4, 4, 4, 4, 4, 3, 2)
# B's expansion without its coarsest level: 40 voxels become 5 at the bottleneck, without padding.
_SMALL = MedNeXtConfig(12, (2, 3, 4, 4, 4, 3, 2), (1, 2, 2, 2, 2, 2, 1))
SIZES: dict[str, MedNeXtConfig] = {
    "s": MedNeXtConfig(32, (2,) * 9, (2,) * 9),
    "b": MedNeXtConfig(32, _B, (2,) * 9),
    "m": MedNeXtConfig(32, _B, (3, 4, 4, 4, 4, 4, 4, 4, 3)),
    "l": MedNeXtConfig(32, (3, 4, 8, 8, 8, 8, 8, 4, 3), (3, 4, 8, 8, 8, 8, 8, 4, 3)),
    "small": _SMALL,
    "small_v2": replace(_SMALL, v2=True),
}


def build_mednext(config: Mapping[str, Any], patch_size: Triple, num_classes: int) -> nn.Module:
    """Build MedNeXt; with `deep_supervision` it returns logits of strides 1, 2, 4, ... in training mode."""
    size = named_size("mednext", config, SIZES, "deep_supervision", "checkpointing")
    network = _mednext(size, num_classes, deep_supervision=config["deep_supervision"])
    if config["checkpointing"]:
        checkpoint_blocks(network, (MedNeXtBlock,))
    multiple = 2**size.num_halvings
    return PaddedNetwork(network, (multiple, multiple, multiple), minimum=(1, 1, 2 * multiple))


def _mednext(size: MedNeXtConfig, num_classes: int, *, deep_supervision: bool) -> MedNeXt:
    middle = size.num_halvings
    network = MedNeXt(
        init_filters=size.channels,
        in_channels=IN_CHANNELS,
        out_channels=num_classes,
        encoder_expansion_ratio=size.expansion[:middle],
        bottleneck_expansion_ratio=size.expansion[middle],
        decoder_expansion_ratio=size.expansion[middle + 1 :],
        kernel_size=KERNEL,
        deep_supervision=deep_supervision,
        use_residual_connection=True,
        blocks_down=size.blocks[:middle],
        blocks_bottleneck=size.blocks[middle],
        blocks_up=size.blocks[middle + 1 :],
        global_resp_norm=size.v2,
    )
    for level in range(middle):
        dim = size.channels << level
        network.down_blocks[level] = MedNeXtDownBlock(
            dim, 2 * dim, size.expansion[level + 1], KERNEL, use_residual_connection=True, global_resp_norm=size.v2
        )
    return network
