import copy

import pytest
import torch
from torch import Tensor, nn

from crossmodalnet.networks.common.wrappers import PaddedNetwork, checkpoint_blocks


class Pyramid(nn.Module):
    """Its input, the means of 2^3 and of 4^3 voxels: outputs of deep supervision, finest first."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        self.size = tuple(x.shape[2:])
        return x, nn.functional.avg_pool3d(x, 2), nn.functional.avg_pool3d(x, 4)


@pytest.mark.parametrize(
    ("size", "multiple", "minimum", "padded"),
    [((8, 4, 12), (4, 4, 4), (1, 1, 1), (8, 4, 12)), ((5, 9, 4), (4, 4, 4), (1, 1, 1), (8, 12, 4)),
     ((5, 9, 4), (2, 1, 8), (1, 1, 1), (6, 9, 8)), ((5, 4, 4), (4, 4, 4), (1, 1, 9), (8, 4, 12))],
)  # fmt: skip
def test_every_axis_is_padded_to_its_multiple_and_minimum(size, multiple, minimum, padded):
    inner = Pyramid()
    PaddedNetwork(inner, multiple, minimum)(torch.ones(1, 1, *size))
    assert inner.size == padded


def test_outputs_cover_the_input_and_nothing_of_the_padding():
    x = torch.randn(2, 1, 5, 8, 9)
    outputs = PaddedNetwork(Pyramid(), (4, 4, 4))(x)
    assert isinstance(outputs, list)
    assert [tuple(o.shape[2:]) for o in outputs] == [(5, 8, 9), (3, 4, 5), (2, 2, 3)]
    assert torch.equal(outputs[0], x)
    # The last voxel of stride 4 holds one voxel of depth, four of height and one of width, the rest zeros.
    torch.testing.assert_close(outputs[2][:, :, 1, 1, 2], x[:, :, 4, 4:8, 8].sum(-1) / 64)


def test_the_padding_is_zeros_at_the_far_end():
    network, x = nn.Conv3d(1, 1, 3, padding=1), torch.randn(1, 1, 3, 4, 5)
    # A convolution pads with zeros too, so more of them change nothing.
    torch.testing.assert_close(PaddedNetwork(network, (8, 8, 8))(x), network(x))


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


def test_a_copy_runs_its_own_weights():
    network = nn.Sequential(Block())
    checkpoint_blocks(network, (Block,))
    copied = copy.deepcopy(network)
    for parameter in copied.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(copied(torch.randn(1, 3)), torch.full((1, 3), 0.5))
    assert network[0].runs == 0
