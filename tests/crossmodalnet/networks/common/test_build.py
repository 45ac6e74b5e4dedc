import pytest
import torch

from crossmodalnet.networks.common.build import build_network
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig


def test_unknown_network_lists_the_choices():
    with pytest.raises(ValueError, match=r"one of .*crossmodalnet.*, got 'no_such_network'"):
        build_network("no_such_network", {}, patch_size=(16, 16, 16))


THREE_LEVELS = {"patch_embedding": (1, 2, 4), "depths": (1, 1, 1), "heads": (2, 4, 8), "num_points": (1, 1, 1)}


@pytest.mark.parametrize(
    ("options", "patch_size", "message"),
    [({}, (50, 48, 48), "depth must be a multiple of 8 .*got 50"), ({}, (48, 4, 48), "height must be .* 8 .*got 4"),
     ({}, (48, 48, 0), "width must be .*got 0"), ({}, (48, 48), "3 axes"),
     (THREE_LEVELS, (4, 8, 24), r"width must be a multiple of 16 .*got 24")],
)  # fmt: skip
def test_patch_size_must_fit_the_strides_of_each_axis(options, patch_size, message):
    with pytest.raises(ValueError, match=message):
        build_network("crossmodalnet", CrossModalNetConfig(**options).options(), patch_size=patch_size)


def test_a_network_is_built_from_what_differs_from_the_defaults():
    options = {"channels": 12, "heads": (1, 2)}
    network = build_network("crossmodalnet", options, patch_size=(16, 16, 16), num_classes=3)
    assert network(torch.zeros(1, 2, 16, 16, 16)).shape == (1, 3, 16, 16, 16)
