"""Networks by name: a dict of builders."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.networks.common.sizes import Triple

T = TypeVar("T")
Builder = Callable[[Mapping[str, Any], Triple, int], nn.Module]


# Module and function of each builder. Every folder here with a `network.py` is a network of that name; its module is
# imported when the network is built.
_FOLDERS = sorted(file.parent.name for file in Path(__file__).parents[1].glob("*/network.py"))
_OTHER_MODULES = {"crossmodalnet": "assembly"}
PLACES: dict[str, tuple[str, str]] = {
    name: (f"crossmodalnet.networks.{name}.{_OTHER_MODULES.get(name, 'network')}", f"build_{name}")
    for name in _FOLDERS
}


def _at(module: str, function: str) -> Builder:
    def build(config: Mapping[str, Any], patch_size: Triple, num_classes: int) -> nn.Module:
        return getattr(import_module(module), function)(config, patch_size, num_classes)

    return build


BUILDERS: dict[str, Builder] = {name: _at(*place) for name, place in PLACES.items()}


def check_complete(name: str, config: Mapping[str, Any]) -> None:
    """Refuse the options of a trained network that leave one to its default, which may have been another then.

    Args:
        name: a key of `BUILDERS`.
        config: options as the network's card has them.

    Raises:
        ValueError: an option is not there; names all such.
    """
    needed: frozenset[str] = frozenset()
    if name in PLACES:
        needed = getattr(import_module(PLACES[name][0]), "NEEDED", needed)
    if missing := sorted(needed - set(config)):
        raise ValueError(f"options of {name}: {', '.join(missing)} missing")


def named_size(network: str, config: Mapping[str, Any], sizes: Mapping[str, T], *options: str) -> T:
    """Look up the size of a network that is published in several, after checking its options.

    Raises:
        ValueError: an unknown or missing option, or no such size.
    """
    known = {"size", *options}
    if wrong := sorted(known ^ set(config)):
        raise ValueError(f"options of {network}: {', '.join(wrong)} unknown or missing; all: {sorted(known)}")
    if config["size"] not in sizes:
        raise ValueError(f"size of {network} must be one of {', '.join(sizes)}, got {config['size']!r}")
    return sizes[config["size"]]


# Networks with an option `deep_supervision`: losses on coarser outputs too.
DEEPLY_SUPERVISED = frozenset({"crossmodalnet", "nnformer", "mednext", "resenc_unet"})


def build_network(
    name: str, config: Mapping[str, Any], *, patch_size: Triple, num_classes: int = NUM_CLASSES
) -> nn.Module:
    """Build a network whose forward maps CT and MR `(b, 2, D, H, W)` to logits `(b, num_classes, D, H, W)`.

    With deep supervision it gives in training mode a list of logits, finest first.

    Args:
        name: a key of `BUILDERS`.
        config: options of that network; of crossmodalnet only what differs from `CrossModalNetConfig()`.
        patch_size: voxels per axis of the inputs to come.

    Raises:
        ValueError: no such network, or options or a patch size it cannot take.

    >>> import torch
    >>> network = build_network("crossmodalnet", {"channels": 12, "heads": (2, 2)}, patch_size=(16, 16, 16))
    >>> tuple(network(torch.rand(1, 2, 16, 16, 16)).shape)
    (1, 8, 16, 16, 16)
    """
    if name not in BUILDERS:
        raise ValueError(f"network must be one of {', '.join(sorted(BUILDERS))}, got {name!r}")
    return BUILDERS[name](config, patch_size, num_classes)
