"""Networks by name: a plain dict of builders."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from crossmodalnet.labels import NUM_CLASSES
from crossmodalnet.networks.assembly import build_crossmodalnet
from crossmodalnet.networks.mednext import build_mednext
from crossmodalnet.networks.nnformer import build_nnformer
from crossmodalnet.networks.resenc_unet import build_resenc_unet
from crossmodalnet.networks.swin_unet import build_swin_unet
from crossmodalnet.networks.swin_unetr import build_swin_unetr
from crossmodalnet.networks.vtunet import build_vtunet
from crossmodalnet.networks.windows import Triple

Builder = Callable[[Mapping[str, Any], Triple, int], nn.Module]

BUILDERS: dict[str, Builder] = {
    "crossmodalnet": build_crossmodalnet,
    "vtunet": build_vtunet,
    "swin_unet": build_swin_unet,
    "swin_unetr": build_swin_unetr,
    "nnformer": build_nnformer,
    "mednext": build_mednext,
    "resenc_unet": build_resenc_unet,
}
# Published with losses on coarser outputs too, or ours; their option `deep_supervision` says whether they have them.
DEEPLY_SUPERVISED = frozenset({"crossmodalnet", "nnformer", "mednext", "resenc_unet"})


def build_network(
    name: str, config: Mapping[str, Any], *, patch_size: Triple, num_classes: int = NUM_CLASSES
) -> nn.Module:
    """Build a network whose forward maps CT and MR `(b, 2, D, H, W)` to logits `(b, num_classes, D, H, W)`.

    With deep supervision it gives in training mode a list of logits, finest first.

    Args:
        name: a key of `BUILDERS`.
        config: that network's options.
        patch_size: voxels per axis of the inputs to come.
        num_classes: with background.

    Raises:
        ValueError: no such network, or options or a patch size it cannot take.
    """
    if name not in BUILDERS:
        raise ValueError(f"network must be one of {', '.join(sorted(BUILDERS))}, got {name!r}")
    return BUILDERS[name](config, patch_size, num_classes)
