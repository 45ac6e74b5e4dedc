import pytest
import torch
from torch import nn

from crossmodalnet.networks.embedding import PatchEmbedding, PatchExpanding, PatchMerging, sincos_position
from crossmodalnet.networks.head import ConvStem, FusedHead


@torch.no_grad()
def test_patch_embedding_is_a_strided_convolution():
    embed = PatchEmbedding(2, 5, (2, 1, 4))
    conv = nn.Conv3d(2, 5, (2, 1, 4), stride=(2, 1, 4))
    conv.weight.copy_(embed.proj.weight.view(conv.weight.shape))
    conv.bias.copy_(embed.proj.bias)
    x = torch.randn(1, 2, 4, 3, 8)
    torch.testing.assert_close(embed(x), embed.norm(conv(x).movedim(1, -1)))


@torch.no_grad()
def test_merging_joins_eight_neighbours():
    merge = PatchMerging(2)
    x = torch.randn(1, 4, 2, 2, 2)
    out = merge(x)
    assert out.shape == (1, 2, 1, 1, 4)
    torch.testing.assert_close(out[0, 1, 0, 0], merge.reduce(merge.norm(x[0, 2:].reshape(16))))


@torch.no_grad()
def test_expanding_puts_each_token_into_its_block():
    expand = PatchExpanding(3, 2, (1, 2, 2))
    x = torch.randn(1, 2, 2, 2, 3)
    out = expand(x)
    assert out.shape == (1, 2, 4, 4, 2)
    block = expand.norm(expand.expand(x[0, 1, 0, 1]).view(2, 2, 2))
    torch.testing.assert_close(out[0, 1, 0:2, 2:4], block)


def test_sincos_position_is_unique_and_without_parameters():
    code = sincos_position((4, 5, 6), 12, torch.device("cpu"))
    assert code.shape == (4, 5, 6, 12)
    assert torch.cdist(code.view(120, 12), code.view(120, 12)).fill_diagonal_(1).min() > 0.05
    assert not list(PatchEmbedding(1, 12, (2, 2, 2), sincos=True).parameters())[4:]


@torch.no_grad()
def test_sincos_position_is_added_after_embedding():
    embed = PatchEmbedding(1, 6, (2, 2, 2), sincos=True)
    x = torch.randn(1, 1, 4, 4, 8)
    with_position = embed(x)
    embed.sincos = False
    code = sincos_position((2, 2, 4), 6, torch.device("cpu"))
    torch.testing.assert_close(with_position - embed(x), code[None])


@pytest.mark.parametrize("stem_channels", [0, 3])
def test_head_reads_both_streams_at_full_resolution(stem_channels):
    head = FusedHead(8, (2, 1, 2), channels=5, stem_channels=2 * stem_channels, num_classes=8)
    a, b = torch.randn(2, 1, 2, 3, 4, 4).requires_grad_()
    stems = [ConvStem(3)(torch.randn(1, 1, 4, 3, 8)) for _ in range(2 if stem_channels else 0)]
    logits = head([a, b], stems)
    assert logits.shape == (1, 8, 4, 3, 8)
    for grad in torch.autograd.grad(logits.square().sum(), (a, b)):
        assert grad.abs().sum() > 0
