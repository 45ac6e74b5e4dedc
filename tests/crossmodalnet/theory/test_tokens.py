import numpy as np
import pytest
import torch

from crossmodalnet.networks.crossmodalnet.config import BuildConfig
from crossmodalnet.theory import tokens
from crossmodalnet.theory.config import AuditConfig
from tests.crossmodalnet.theory.subjects import SMALL, chosen, make_network


def _network(**options):
    values = chosen(**options)
    return make_network(values, (16, 16, 16), 0), BuildConfig(**values)


def _images(num_cases=2):
    return torch.rand(num_cases, 2, 16, 16, 16, generator=torch.Generator().manual_seed(0))


def _sample(network, config, images, components, number):
    options = AuditConfig(components=components, tokens_per_case=number)
    return tokens.sample_tokens(network, config, images, options)


def test_layers_of_a_level_are_numbered():
    single = {key: SMALL[key][:1] for key in ("heads", "cross_window", "num_points")}
    network, config = _network(depths=(2,), **single)
    assert tokens.layer_names(config) == ("image", "embedding", "encoder 1.1", "encoder 1.2")
    assert len(network.features(_images(1))) == 3


PREDICTED = {"offsets": "predicted", "depths": (1, 2), "transitions": "conv"}


@pytest.mark.parametrize("options", [{"stem": "linear", "position": "none"}, PREDICTED], ids=str)
def test_each_layer_has_the_required_tokens_at_most(options):
    network, config = _network(**options)
    layers = _sample(network, config, _images(), 3, 100)
    assert tuple(layers) == tokens.layer_names(config)
    shapes = [(ct.shape, mr.shape) for ct, mr in layers.values()]
    assert shapes[:3] == [((2, 100, 3), (2, 100, 3))] * 3
    assert shapes[3] == ((2, 64, 3), (2, 64, 3))  # 4^3 tokens, all of them


@pytest.mark.parametrize(
    ("depths", "names"), [((0, 1), ["encoder 2", "decoder 1"]), ((1, 0), ["encoder 1", "encoder 2", "decoder 1"])]
)
def test_levels_without_layers_have_the_output_of_what_leads_to_them(depths, names):
    network, config = _network(depths=depths)
    assert list(_sample(network, config, _images(), 3, 50)) == ["image", "embedding", *names]


def test_both_streams_are_read_at_the_same_places():
    network, config = _network()
    same = _images(1)[:, :1].repeat(1, 2, 1, 1, 1)
    ct, mr = _sample(network, config, same, 8, 50)["image"]
    np.testing.assert_array_equal(ct, mr)
    assert ct.shape == (1, 50, 8)


def test_layer_image_holds_blocks_at_random_positions():
    network, config = _network()
    ramp = torch.arange(8.0).repeat_interleave(2)[None, None, :, None, None].expand(1, 2, 16, 16, 16)
    ct, _ = _sample(network, config, ramp, 8, 512)["image"]
    # One direction varies: sqrt(8) times the depth of the block; 64 blocks at each depth.
    assert ct.shape == (1, 512, 1)
    steps = np.sort(np.abs(np.diff(np.sort(ct[0, :, 0]))))
    np.testing.assert_allclose(steps[-7:], np.sqrt(8), rtol=1e-5)
    assert steps[-8] < 1e-6


def test_positions_depend_on_the_seed_alone(monkeypatch):
    network, config = _network()
    state, samples = torch.get_rng_state(), []
    for seed in (0, 0, 1):
        monkeypatch.setattr(AuditConfig, "seed", seed)
        samples.append(_sample(network, config, _images(), 3, 50)["encoder 1"][1])
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(samples[0], samples[1])
    assert not np.allclose(np.abs(samples[0]), np.abs(samples[2]))


def test_principal_components_of_an_ellipsoid():
    samples = np.random.default_rng(0).standard_normal((2, 500, 3)) * [1, 9, 3] + 7
    components = tokens.pooled(tokens.principal_components(samples, 2))
    np.testing.assert_allclose(components.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(components.std(axis=0), [9, 3], rtol=0.05)
    assert abs(np.corrcoef(components[:, 0], samples[..., 1].ravel())[0, 1]) > 0.99


def test_constant_directions_are_no_components():
    line = np.linspace(0, 1, 20)[None, :, None] * np.array([1.0, 2.0, 0.0])
    assert tokens.principal_components(line, 3).shape == (1, 20, 1)
    assert not tokens.principal_components(np.ones((1, 20, 3)), 3).any()


def test_shuffled_pairs_are_of_different_cases():
    images = _images(3)
    shuffled = tokens.shuffled_pairs(images)
    assert torch.equal(shuffled[:, 0], images[:, 0])
    assert torch.equal(shuffled[:, 1], images[[1, 2, 0], 1])
