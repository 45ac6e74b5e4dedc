import pytest
import torch
from torch import nn

from crossmodalnet.networks.common.parameters import EMA, parameter_groups


@pytest.mark.parametrize("offsets", ["static", "predicted"])
def test_every_weight_is_in_one_group(make, offsets):
    network = make(offsets=offsets)
    found = [id(p) for group in parameter_groups(network, 0.1) for p in group.parameters]
    assert sorted(found) == sorted(id(p) for p in network.parameters())


@pytest.mark.parametrize(("offsets", "names"), [("static", {"raw_offsets"}), ("predicted", {"bias", "weight"})])
def test_offsets_learn_at_their_own_rate(make, offsets, names):
    network = make(offsets=offsets)
    (slow,) = [group for group in parameter_groups(network, 0.1) if group.rate == 0.1]
    ids = {id(p) for p in slow.parameters}
    found = {name for name, p in network.named_parameters() if id(p) in ids}
    assert {name.rsplit(".")[-1] for name in found} == names
    assert all("sampler" in name for name in found)


def test_frozen_weights_are_left_out():
    network = nn.Linear(2, 3)
    network.weight.requires_grad_(False)
    (group,) = parameter_groups(network)
    assert torch.equal(group.parameters[0], network.bias)


def test_it_starts_at_the_network_and_follows_it_from_the_first_step_on():
    network = nn.Linear(2, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    mean = EMA(network)
    for weight, decay, expected in ((5.0, 0.75, 2.0), (5.0, 0.5, 3.5)):
        nn.init.constant_(network.weight, weight)
        mean.follow(network, decay)
        torch.testing.assert_close(mean.module.weight, torch.full((1, 2), expected))


def test_buffers_are_those_of_the_network():
    network = nn.BatchNorm1d(2)
    mean = EMA(network)
    network(torch.rand(4, 2))
    mean.follow(network, 0.9)
    assert torch.equal(mean.module.running_mean, network.running_mean)
    assert mean.module.num_batches_tracked == 1


def test_it_asks_for_no_gradient():
    assert not any(weight.requires_grad for weight in EMA(nn.Linear(2, 2)).parameters())
