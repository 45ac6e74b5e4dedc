import pytest
import torch

from crossmodalnet.imaging.samples import without
from crossmodalnet.networks.common.build import build_network
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig

OPTIONS = CrossModalNetConfig(
    channels=6, heads=(1, 2), patch_embedding=(4, 4, 4), stem_channels=(2, 4), head_channels=4
).options()


def build(**options):
    return build_network("crossmodalnet", {**OPTIONS, **options}, patch_size=(16, 16, 24))


def test_deep_supervision_gives_every_resolution_in_training_only():
    network, x = build(deep_supervision=True), torch.rand(2, 2, 16, 16, 24)
    shapes = [tuple(level.shape[2:]) for level in network(x)]
    assert shapes == [(16, 16, 24), (8, 8, 12), (4, 4, 6), (2, 2, 3)]
    assert network.eval()(x).shape == (2, 8, 16, 16, 24)


@pytest.mark.parametrize(
    "options", [{"stem": "linear"}, {"transitions": "linear"}, {"streams": "ct"}], ids=str
)
def test_deep_supervision_reaches_every_parameter_of_other_options(options):
    network = build(deep_supervision=True, **options)
    torch.stack([level.square().mean() for level in network(torch.rand(1, 2, 16, 16, 24))]).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("channel", [0, 1])
def test_a_missing_image_is_not_looked_at_but_replaced_by_the_token(channel):
    network, x = build(missing_token=True).eval(), torch.rand(1, 2, 16, 16, 24)
    embedded = network.features(without(x, channel))[0][channel]
    other = network.features(without(x.flip(2), channel))[0][channel]
    assert torch.equal(embedded, other)
    flat = embedded.flatten(2)
    assert torch.equal(flat, network.missing[channel].detach()[None, :, None].expand_as(flat))


def test_samples_of_a_batch_are_missing_for_themselves():
    network, x = build(missing_token=True).eval(), torch.rand(2, 2, 16, 16, 24)
    x[1] = without(x[1], 0)
    both = network(x)
    torch.testing.assert_close(both[:1], network(x[:1]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(both[1:], network(x[1:]), atol=1e-5, rtol=1e-4)


def test_tokens_learn_from_the_samples_that_need_them():
    network, x = build(missing_token=True), torch.rand(1, 2, 16, 16, 24)
    network(without(x, 1)).square().mean().backward()
    ct, mr = (token.grad for token in network.missing)
    assert not ct.any()
    assert mr.abs().max() > 0


def test_a_network_that_was_not_built_for_it_has_no_token():
    assert not [name for name in build().state_dict() if "missing" in name]


def test_finer_maps_of_both_streams_reach_the_logits():
    network, x = build().eval(), torch.rand(1, 2, 16, 16, 24)
    before = network(x)
    for stem in network.stems:
        for block in stem.blocks:
            handle = block.register_forward_hook(lambda _, __, out: torch.zeros_like(out))
            assert not torch.allclose(network(x), before, atol=1e-4)
            handle.remove()
