from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from crossmodalnet.networks.common.build import BUILDERS, DEEPLY_SUPERVISED, build_network
from pipeline.config.network import NETWORKS

SMALL: dict[str, Any] = {
    "channels": 6, "depths": (1, 1), "heads": (1, 2), "cross_window": ((4, 4, 4), None), "num_points": (2, 2),
    "mlp_ratio": 1.0, "head_channels": 4, "stem_channels": (2,), "patch_embedding": (2, 2, 2), "window": (4, 4, 4),
    "transitions": "linear",
}  # fmt: skip

BASELINES = [name for name in BUILDERS if name != "crossmodalnet"]


def options_of(name: str, **changes: Any) -> dict[str, Any]:
    """The default options of a network, with deep supervision where it has one."""
    deep = {"deep_supervision": True} if name in DEEPLY_SUPERVISED else {}
    return NETWORKS[name]().options() | {"checkpointing": False} | deep | changes


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def make() -> Callable[..., nn.Module]:
    """Build a two-level network of six channels; keyword arguments change its options."""

    def build(patch_size: tuple[int, int, int] = (16, 16, 16), **options: Any) -> nn.Module:
        return build_network("crossmodalnet", SMALL | options, patch_size=patch_size)

    return build
