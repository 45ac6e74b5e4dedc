import torch
from torch import nn

from crossmodalnet.networks.common.parameters import RunningMean


def test_it_starts_at_the_network_and_follows_it_from_the_first_step_on():
    network = nn.Linear(2, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    mean = RunningMean(network)
    for weight, decay, expected in ((5.0, 0.75, 2.0), (5.0, 0.5, 3.5)):
        nn.init.constant_(network.weight, weight)
        mean.follow(network, decay)
        torch.testing.assert_close(mean.module.weight, torch.full((1, 2), expected))


def test_buffers_are_those_of_the_network():
    network = nn.BatchNorm1d(2)
    mean = RunningMean(network)
    network(torch.rand(4, 2))
    mean.follow(network, 0.9)
    assert torch.equal(mean.module.running_mean, network.running_mean)
    assert mean.module.num_batches_tracked == 1


def test_it_asks_for_no_gradient():
    assert not any(weight.requires_grad for weight in RunningMean(nn.Linear(2, 2)).parameters())
