"""Swin UNETR (Hatamizadeh et al., BrainLes 2021, arXiv 2201.01266), from MONAI.

MONAI's network is taken as it is, two flaws included: where a map is smaller than the window, relative
positions index the bias table of the whole window (`[:n, :n]`), so that most pairs of tokens get another
pair's bias; and tokens that pad a map to whole windows are attended to unless the windows are shifted.

The published layout halves the resolution five times, and no argument of MONAI's changes that: inputs are
padded to multiples of 32 voxels, a patch of 40^3 voxels to 64^3, four times the work. The small size has
therefore two stages in place of four (three halvings: multiples of 8), put together from MONAI's parts, and
windows of 5, which divide the maps of 20^3 and 10^3 tokens of such a patch: neither flaw shows there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monai.networks.nets.swin_unetr import SwinUNETR
from torch import nn

from crossmodalnet.networks.common.padding import PaddedNetwork
from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.swin_unetr.shallow import ShallowSwinUNETR

IN_CHANNELS = 2
PUBLISHED_STAGES = 4


@dataclass(frozen=True)
class SwinUNETRConfig:
    """A named size of Swin UNETR; lists have one entry per stage of Swin blocks, finest first.

    Attributes:
        features: channels after patch embedding and at full resolution, doubled by each stage.
        depths: Swin blocks.
        heads: heads of the attention.
        window: tokens per axis.
    """

    features: int
    depths: tuple[int, ...] = (2, 2, 2, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7


SIZES: dict[str, SwinUNETRConfig] = {
    "f48": SwinUNETRConfig(48),
    "f24": SwinUNETRConfig(24),
    "small": SwinUNETRConfig(16, depths=(2, 2), heads=(2, 4), window=5),
}


def build_swin_unetr(config: Mapping[str, Any], patch_size: Triple, num_classes: int) -> nn.Module:
    """Build Swin UNETR with freshly drawn weights (from torch's global generator).

    Args:
        config: `size`, a key of `SIZES`; `checkpointing`, to recompute the Swin blocks' activations in the
            backward pass.
        patch_size: not needed; inputs of any size are padded to what the halvings want.
        num_classes: number of classes, background included.

    Raises:
        ValueError: an unknown or missing option, or no such size.
    """
    known = {"size", "checkpointing"}
    if wrong := sorted(known ^ set(config)):
        raise ValueError(
            f"options of swin_unetr: {', '.join(wrong)} unknown or missing; all: {sorted(known)}"
        )
    if config["size"] not in SIZES:
        raise ValueError(f"size of swin_unetr must be one of {', '.join(SIZES)}, got {config['size']!r}")
    size = SIZES[config["size"]]
    multiple = 2 ** (len(size.depths) + 1)
    network = _network(size, num_classes, checkpointing=config["checkpointing"])
    return PaddedNetwork(network, (multiple, multiple, multiple), minimum=(1, 1, 2 * multiple))


def _network(size: SwinUNETRConfig, num_classes: int, *, checkpointing: bool) -> nn.Module:
    if len(size.depths) == PUBLISHED_STAGES:
        network: nn.Module = SwinUNETR(
            IN_CHANNELS,
            num_classes,
            depths=size.depths,
            num_heads=size.heads,
            window_size=size.window,
            feature_size=size.features,
            use_checkpoint=checkpointing,
        )
    else:
        network = ShallowSwinUNETR(
            IN_CHANNELS,
            num_classes,
            features=size.features,
            depths=size.depths,
            heads=size.heads,
            window=size.window,
            checkpointing=checkpointing,
        )
    return network
