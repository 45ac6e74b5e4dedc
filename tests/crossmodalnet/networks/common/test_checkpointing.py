import copy

import torch
from torch import nn

from crossmodalnet.networks.common.wrappers import checkpoint_blocks


class Block(nn.Module):
    """Counts how often it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.runs = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        return torch.sigmoid(self.linear(x))


def test_blocks_run_again_in_the_backward_pass():
    network = nn.Sequential(Block(), nn.Tanh(), Block())
    names = list(network.state_dict())
    checkpoint_blocks(network, (Block,))
    out = network(torch.randn(2, 3))
    assert [network[0].runs, network[2].runs] == [1, 1]
    out.sum().backward()
    assert [network[0].runs, network[2].runs] == [2, 2]
    assert list(network.state_dict()) == names


def test_gradients_are_the_same():
    plain = nn.Sequential(Block(), Block())
    network = copy.deepcopy(plain)
    checkpoint_blocks(network, (Block,))
    x = torch.randn(2, 3)
    for each in (plain, network):
        each(x).square().sum().backward()
    for expected, parameter in zip(plain.parameters(), network.parameters(), strict=True):
        assert torch.equal(parameter.grad, expected.grad)


def test_a_copy_runs_its_own_weights():
    network = nn.Sequential(Block())
    checkpoint_blocks(network, (Block,))
    copied = copy.deepcopy(network)
    nn.init.zeros_(copied[0].linear.weight)
    nn.init.zeros_(copied[0].linear.bias)
    assert torch.equal(copied(torch.randn(1, 3)), torch.full((1, 3), 0.5))
    assert network[0].runs == 0
