import pytest
import torch
from torch import nn

from crossmodalnet.networks.common.parameters import parameter_groups


@pytest.mark.parametrize("offsets", ["static", "predicted"])
def test_every_weight_is_in_one_group(make, offsets):
    network = make(offsets=offsets)
    found = [id(p) for group in parameter_groups(network, 0.1) for p in group.parameters]
    assert sorted(found) == sorted(id(p) for p in network.parameters())


@pytest.mark.parametrize(
    ("offsets", "names"), [("static", ["raw_offsets"]), ("predicted", ["bias", "weight"])]
)
def test_offsets_learn_at_their_own_rate_and_do_not_decay(make, offsets, names):
    network = make(offsets=offsets)
    (slow,) = [group for group in parameter_groups(network, 0.1) if group.rate == 0.1]
    ids = {id(p) for p in slow.parameters}
    found = {name for name, p in network.named_parameters() if id(p) in ids}
    assert found
    assert {name.rsplit(".")[-1] for name in found} == set(names)
    assert all("sampler" in name for name in found)
    assert not slow.decays


def test_norms_and_biases_do_not_decay():
    network = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    groups = parameter_groups(network)
    assert [(len(group.parameters), group.decays) for group in groups] == [(1, True), (3, False)]


def test_position_biases_and_scales_of_heads_do_not_decay(make):
    network = make(similarity="cosine")
    decaying = {id(p) for group in parameter_groups(network) if group.decays for p in group.parameters}
    names = {name.rsplit(".", 1)[-1] for name, p in network.named_parameters() if id(p) not in decaying}
    assert {"position_bias", "log_scale", "bias"} <= names
    assert {name.rsplit(".", 1)[-1] for name, p in network.named_parameters() if id(p) in decaying} == {
        "weight"
    }


def test_frozen_weights_are_left_out():
    network = nn.Linear(2, 3)
    network.weight.requires_grad_(False)
    (group,) = parameter_groups(network)
    assert torch.equal(group.parameters[0], network.bias)
