from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from crossmodalnet.networks.common.build import BUILDERS, DEEPLY_SUPERVISED, build_network
from pipeline.config.network import NETWORKS
from tests.crossmodalnet.theory.subjects import SMALL

BASELINES = [name for name in BUILDERS if name != "crossmodalnet"]


def options_of(name: str, **changes: Any) -> dict[str, Any]:
    """The default options of a network, with deep supervision where it has one."""
    deep = {"deep_supervision": True} if name in DEEPLY_SUPERVISED else {}
    return NETWORKS[name]().options() | {"checkpointing": False} | deep | changes


@pytest.fixture
def make() -> Callable[..., nn.Module]:
    """Build a two-level network of six channels; keyword arguments change its options."""

    def build(patch_size: tuple[int, int, int] = (16, 16, 16), **options: Any) -> nn.Module:
        return build_network("crossmodalnet", SMALL | options, patch_size=patch_size)

    return build
