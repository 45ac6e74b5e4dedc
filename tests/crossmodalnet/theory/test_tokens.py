from typing import Any

import numpy as np
import pytest
import torch

from crossmodalnet.networks.crossmodalnet.assembly import build_crossmodalnet
from crossmodalnet.networks.crossmodalnet.config import BuildConfig
from crossmodalnet.theory.tokens import (
    layer_names,
    pooled,
    principal_components,
    sample_tokens,
    shuffled_pairs,
)
from tests.crossmodalnet.theory.subjects import SMALL, chosen


def _network(**options: Any) -> tuple[Any, BuildConfig]:
    values = chosen(**options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_crossmodalnet(values, (16, 16, 16), 8).eval()
    return network, BuildConfig(**values)


def _images(num_cases: int = 2) -> torch.Tensor:
    return torch.rand(num_cases, 2, 16, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("depths", "expected"),
    [
        ((1, 1), ("image", "embedding", "encoder 1", "encoder 2", "decoder 1")),
        ((2,), ("image", "embedding", "encoder 1.1", "encoder 1.2")),
    ],
)
def test_names_of_layers(depths, expected):
    options = {"depths": depths} | {
        key: SMALL[key][: len(depths)] for key in ("heads", "cross_window", "num_points")
    }
    network, config = _network(**options)
    assert layer_names(config) == expected
    assert len(network.features(_images(1))) == len(expected) - 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stem": "linear", "position": "none"},
        {"offsets": "predicted", "depths": (1, 2)},
        {"transitions": "conv"},
    ],
    ids=str,
)
def test_tokens_are_as_many_as_asked_for(options):
    network, config = _network(**options)
    layers = sample_tokens(network, config, _images(), components=3, tokens_per_case=100, seed=0)
    assert tuple(layer.name for layer in layers) == layer_names(config)
    assert [layer.ct.shape for layer in layers[:3]] == [(2, 100, 3)] * 3
    assert layers[3].mr.shape == (2, 64, 3)  # 4^3 tokens, all of them


def test_both_streams_are_read_at_the_same_places():
    network, config = _network()
    image = _images(1)[:, :1]
    layers = sample_tokens(
        network, config, image.repeat(1, 2, 1, 1, 1), components=8, tokens_per_case=50, seed=0
    )
    np.testing.assert_array_equal(layers[0].ct, layers[0].mr)
    # A block of 2^3 voxels is a token: the variance of all is that of some 50 blocks.
    assert layers[0].ct.shape == (1, 50, 8)


def test_images_as_layer_0_are_blocks_at_drawn_positions():
    network, config = _network()
    ramp = torch.arange(8.0).repeat_interleave(2)[None, None, :, None, None].expand(1, 2, 16, 16, 16)
    layer = sample_tokens(network, config, ramp, components=8, tokens_per_case=512, seed=0)[0]
    # One direction varies: sqrt(8) times the depth of the block; 64 blocks at each depth.
    assert layer.ct.shape == (1, 512, 1)
    steps = np.sort(np.abs(np.diff(np.sort(layer.ct[0, :, 0]))))
    np.testing.assert_allclose(steps[-7:], np.sqrt(8), rtol=1e-5)
    assert steps[-8] < 1e-6


def test_positions_depend_on_the_seed_alone():
    network, config = _network()
    options = {"components": 3, "tokens_per_case": 40}
    state = torch.get_rng_state()
    first, again, other = (
        sample_tokens(network, config, _images(), **options, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(first[2].mr, again[2].mr)
    assert not np.allclose(np.abs(first[2].mr), np.abs(other[2].mr))


def test_principal_components_of_an_ellipsoid():
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((2, 500, 3)) * [1, 9, 3] + 7
    found = pooled(principal_components(tokens, 2))
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(found.std(axis=0), [9, 3], rtol=0.05)
    assert abs(np.corrcoef(found[:, 0], tokens[..., 1].ravel())[0, 1]) > 0.99


def test_directions_that_do_not_vary_are_no_components():
    line = np.linspace(0, 1, 20)[None, :, None] * np.array([1.0, 2.0, 0.0])
    assert principal_components(line, 3).shape == (1, 20, 1)
    assert not principal_components(np.ones((1, 20, 3)), 3).any()


def test_shuffled_pairs_are_no_pairs():
    images = _images(3)
    found = shuffled_pairs(images)
    for i in range(3):
        assert torch.equal(found[i, 0], images[i, 0])
        assert torch.equal(found[i, 1], images[(i + 1) % 3, 1])
