"""Build networks by name."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.networks.common.sizes import Triple

T = TypeVar("T")

# Each folder with a `network.py` is a network of that name; building it imports its module.
_FOLDERS = sorted(file.parent.name for file in Path(__file__).parents[1].glob("*/network.py"))
_OTHER_MODULES = {"crossmodalnet": "assembly"}
# Modules and functions that build networks, by name.
BUILDERS: dict[str, tuple[str, str]] = {
    name: (f"crossmodalnet.networks.{name}.{_OTHER_MODULES.get(name, 'network')}", f"build_{name}") for name in _FOLDERS
}


def check_complete(name: str, config: Mapping[str, Any]) -> None:
    """Reject options of a trained network that leave one to its default, which may have changed since.

    Raises:
        ValueError: lists the missing options.
    """
    needed: frozenset[str] = frozenset()
    if name in BUILDERS:
        needed = getattr(import_module(BUILDERS[name][0]), "NEEDED", needed)
    if missing := sorted(needed - set(config)):
        raise ValueError(f"options of {name}: {', '.join(missing)} missing")


def named_size(network: str, config: Mapping[str, Any], sizes: Mapping[str, T], *options: str) -> T:
    """Look up a named size of a published network, after checking its options.

    Raises:
        ValueError: an option is unknown or missing, or the size is unknown.
    """
    known = {"size", *options}
    if wrong := sorted(known ^ set(config)):
        raise ValueError(f"options of {network}: {', '.join(wrong)} unknown or missing; all: {sorted(known)}")
    if config["size"] not in sizes:
        raise ValueError(f"size of {network} must be one of {', '.join(sizes)}, got {config['size']!r}")
    return sizes[config["size"]]


DEEPLY_SUPERVISED = frozenset({"crossmodalnet", "nnformer", "mednext", "resenc_unet"})


def build_network(
    name: str, config: Mapping[str, Any], *, patch_size: Triple, num_classes: int = NUM_CLASSES
) -> nn.Module:
    """Build a network whose forward maps CT and MR `(b, 2, D, H, W)` to logits `(b, num_classes, D, H, W)`.

    With deep supervision it returns a list of logits in training mode, finest first. For crossmodalnet `config` needs
    only the options that differ from `CrossModalNetConfig()`. Inputs have `patch_size` voxels.

    Raises:
        ValueError: the name is unknown, or the options or the patch size are invalid.

    >>> import torch
    >>> network = build_network("crossmodalnet", {"channels": 12, "heads": (2, 2)}, patch_size=(16, 16, 16))
    >>> tuple(network(torch.rand(1, 2, 16, 16, 16)).shape)
    (1, 8, 16, 16, 16)
    """
    if name not in BUILDERS:
        raise ValueError(f"network must be one of {', '.join(sorted(BUILDERS))}, got {name!r}")
    module, function = BUILDERS[name]
    return getattr(import_module(module), function)(config, patch_size, num_classes)
