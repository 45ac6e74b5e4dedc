import pytest
import torch
from torch import nn

from crossmodalnet.networks.convolution import ResidualConvBlock, UpConvolution, strides_to, to_map, to_tokens


@torch.no_grad()
def test_a_block_that_keeps_its_size_adds_its_input():
    block = ResidualConvBlock(3, 3, branch_scale=0.0)
    x = torch.randn(2, 3, 4, 5, 6)
    torch.testing.assert_close(block(x), nn.functional.leaky_relu(x, 0.01))


@torch.no_grad()
def test_where_the_size_changes_the_short_cut_is_the_mean_of_each_block_of_voxels():
    block = ResidualConvBlock(1, 2, (2, 1, 2), branch_scale=0.0)
    block.project.weight.copy_(torch.tensor([1.0, -2.0]).view(2, 1, 1, 1, 1))
    x = torch.randn(1, 1, 4, 3, 6)
    means = x.view(1, 1, 2, 2, 3, 3, 2).mean((3, 6))
    spread = means.var(correction=0)
    pair = torch.cat([(means - means.mean()) / (spread * k**2 + 1e-5).sqrt() * k for k in (1.0, -2.0)], dim=1)
    torch.testing.assert_close(block(x), nn.functional.leaky_relu(pair, 0.01))


@torch.no_grad()
def test_going_up_each_voxel_becomes_a_block_that_is_joined_with_finer_maps():
    up = UpConvolution(2, 3, 4, (2, 1, 2), branch_scale=1.0)
    coarse, fine, finer = torch.randn(1, 2, 2, 3, 2), torch.randn(1, 3, 4, 3, 4), torch.randn(1, 1, 4, 3, 4)
    expanded = torch.einsum("bidhw,iojkl->bodjhkwl", coarse, up.expand.weight).reshape(1, 3, 4, 3, 4)
    torch.testing.assert_close(up(coarse, fine, finer), up.block(torch.cat([expanded, fine, finer], dim=1)))


@pytest.mark.parametrize(
    ("total", "steps"),
    [((4, 4, 4), [(2, 2, 2)] * 2), ((1, 2, 4), [(1, 2, 2), (1, 1, 2)]), ((1, 1, 1), []), ((3, 6, 1), None)],
)
def test_steps_multiply_to_the_stride(total, steps):
    found = strides_to(total)
    assert steps in (None, found)
    assert tuple(torch.tensor(found).reshape(-1, 3).prod(0).tolist()) == total


def test_tokens_and_maps_are_the_same_numbers():
    x = torch.randn(1, 2, 3, 4, 5)
    assert to_tokens(x)[0, 1, 2, 3].equal(x[0, :, 1, 2, 3])
    assert to_map(to_tokens(x)).equal(x)
