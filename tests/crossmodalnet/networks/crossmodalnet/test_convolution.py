import pytest
import torch
from torch import nn

from crossmodalnet.networks.common.parameters import count_flops
from crossmodalnet.networks.common.sizes import strides_to
from crossmodalnet.networks.crossmodalnet import convolution


def without_branch(block: convolution.ResidualConvBlock) -> convolution.ResidualConvBlock:
    nn.init.zeros_(block.norm2.weight)
    return block


@pytest.mark.parametrize(
    ("total", "steps"),
    [((4, 4, 4), [(2, 2, 2), (2, 2, 2)]), ((1, 2, 4), [(1, 2, 2), (1, 1, 2)]),
     ((3, 6, 1), [(3, 2, 1), (1, 3, 1)]), ((1, 1, 1), [])],
)  # fmt: skip
def test_strides_halve_while_they_can(total, steps):
    assert strides_to(total) == steps


def test_a_block_without_its_branch_is_its_input_behind_the_activation():
    block = without_branch(convolution.ResidualConvBlock(3, 3))
    x = torch.randn(2, 3, 4, 5, 6)
    torch.testing.assert_close(block(x), nn.functional.leaky_relu(x, 0.01))


def test_the_short_cut_of_a_strided_block_pools_projects_and_normalises():
    block = without_branch(convolution.ResidualConvBlock(2, 3, (2, 1, 2)))
    x = torch.randn(1, 2, 4, 3, 6)
    pooled = x.unfold(2, 2, 2).unfold(4, 2, 2).mean((-1, -2))
    projected = torch.einsum("oi,bidhw->bodhw", block.project.weight.flatten(1), pooled)
    mean, var = projected.mean((2, 3, 4), keepdim=True), projected.var((2, 3, 4), correction=0, keepdim=True)
    expected = nn.functional.leaky_relu((projected - mean) / (var + 1e-5).sqrt(), 0.01)
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_instance_norm_is_that_of_torch_with_its_gradients(batch, memory_format):
    own, other = convolution.InstanceNorm(4), nn.InstanceNorm3d(4, affine=True)
    for parameter in own.parameters():
        nn.init.normal_(parameter, std=2.0)
    other.load_state_dict(own.state_dict())
    x = torch.randn(batch, 4, 3, 5, 2).mul(3).contiguous(memory_format=memory_format)
    torch.testing.assert_close(own(x), other(x), atol=1e-5, rtol=1e-4)
    x.requires_grad_()
    grads = (torch.autograd.grad(n.eval()(x).pow(3).sum(), (x, n.weight, n.bias)) for n in (own, other))
    torch.testing.assert_close(*grads, atol=1e-2, rtol=1e-3)


@torch.no_grad()
def test_going_up_each_voxel_becomes_a_block_that_is_joined_with_finer_maps():
    up = convolution.UpConvolution(2, 3, 4, (2, 1, 2))
    coarse, fine, finer = torch.randn(1, 2, 2, 3, 2), torch.randn(1, 3, 4, 3, 4), torch.randn(1, 1, 4, 3, 4)
    expanded = torch.einsum("bidhw,iojkl->bodjhkwl", coarse, up.expand.weight).reshape(1, 3, 4, 3, 4)
    torch.testing.assert_close(up(coarse, fine, finer), up.block(torch.cat([expanded, fine, finer], dim=1)))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 1, 2)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_a_convolution_is_that_of_torch_with_and_without_gradients(batch, stride, memory_format):
    layer = convolution.Conv3x3(3, 5, stride).to(memory_format=memory_format)
    x = torch.randn(batch, 3, 8, 7, 6).to(memory_format=memory_format)
    expected = nn.functional.conv3d(x, layer.weight, None, stride, 1)
    torch.testing.assert_close(layer(x), expected)
    with torch.inference_mode():
        alone = layer(x)
    torch.testing.assert_close(alone, expected.detach())
    assert alone.is_contiguous(memory_format=memory_format)


def test_the_operations_of_a_convolution_are_counted_however_it_is_made():
    one, two = (torch.zeros(batch, 3, 4, 5, 6) for batch in (1, 2))
    assert count_flops(convolution.Conv3x3(3, 2), one) == 2 * (4 * 5 * 6) * (3 * 2) * 27
    assert count_flops(convolution.Conv3x3(3, 2), two) == 2 * count_flops(convolution.Conv3x3(3, 2), one)


def test_a_linear_map_of_channels_is_that_of_torch_with_its_gradients():
    ours, theirs = convolution.Conv1x1(3, 5), nn.Conv3d(3, 5, 1)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d)
    out = ours(x)
    torch.testing.assert_close(out, theirs(x))
    assert out.is_contiguous(memory_format=torch.channels_last_3d)
    grads = (torch.autograd.grad(c(x).square().sum(), (c.weight, c.bias)) for c in (ours, theirs))
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-4)
