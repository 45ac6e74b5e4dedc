import pytest
import torch
from torch import nn

from crossmodalnet.networks.common.wrappers import PatchExpanding
from crossmodalnet.networks.crossmodalnet import embedding
from crossmodalnet.networks.crossmodalnet.head import AuxiliaryHeads, ConvHead, ConvStem


@torch.no_grad()
def test_patch_embedding_is_a_strided_convolution():
    embed = embedding.PatchEmbedding(2, 5, (2, 1, 4))
    conv = nn.Conv3d(2, 5, (2, 1, 4), stride=(2, 1, 4))
    conv.weight.copy_(embed.proj.weight.view(conv.weight.shape))
    conv.bias.copy_(embed.proj.bias)
    x = torch.randn(1, 2, 4, 3, 8)
    torch.testing.assert_close(embed(x), embed.norm(conv(x).movedim(1, -1)))


@torch.no_grad()
def test_merging_joins_eight_neighbours():
    merge = embedding.PatchMerging(2)
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
    code = embedding.sincos_position((4, 5, 6), 12, torch.device("cpu"))
    assert code.shape == (4, 5, 6, 12)
    assert torch.cdist(code.view(120, 12), code.view(120, 12)).fill_diagonal_(1).min() > 0.05
    assert not list(embedding.PatchEmbedding(1, 12, (2, 2, 2), sincos=True).parameters())[4:]


@pytest.mark.parametrize("kind", [embedding.PatchEmbedding, embedding.ConvEmbedding])
@torch.no_grad()
def test_sincos_position_is_added_after_embedding(kind):
    embed, x = kind(2, 6, (2, 1, 2), sincos=True), torch.randn(1, 2, 4, 3, 8)
    with_position = embed(x)
    embed.sincos = False
    code = embedding.sincos_position((2, 3, 4), 6, torch.device("cpu"))
    torch.testing.assert_close(with_position - embed(x), code[None])


@torch.no_grad()
def test_conv_embedding_and_merging_are_blocks():
    embed, x = embedding.ConvEmbedding(2, 6, (2, 1, 2), sincos=False), torch.randn(1, 2, 4, 3, 8)
    torch.testing.assert_close(embed(x), embed.block(x).movedim(1, -1))
    merge, x = embedding.ConvMerging(2), torch.randn(1, 4, 2, 6, 2)
    assert merge(x).shape == (1, 2, 1, 3, 4)
    torch.testing.assert_close(merge(x), merge.block(x.movedim(-1, 1)).movedim(1, -1))


def test_stem_gives_a_map_per_resolution_each_made_of_the_one_before():
    stem = ConvStem((2, 3, 5), [(2, 1, 2), (2, 2, 2)])
    x = torch.randn(1, 1, 8, 6, 4)
    maps = stem(x)
    assert [tuple(m.shape) for m in maps] == [(1, 2, 8, 6, 4), (1, 3, 4, 6, 2), (1, 5, 2, 3, 1)]
    torch.testing.assert_close(maps[2], stem.blocks[2](stem.blocks[1](maps[0])))


def test_conv_head_reads_both_streams_and_all_their_finer_maps():
    head = ConvHead(8, channels=[5, 6], skip_channels=[4, 6], strides=[(2, 1, 2), (2, 2, 2)], num_classes=3)
    streams = [torch.randn(1, 2, 3, 1, 4).requires_grad_() for _ in "ab"]
    fine = [torch.randn(1, 2, 8, 6, 4).requires_grad_() for _ in "ab"]
    middle = [torch.randn(1, 3, 4, 6, 2).requires_grad_() for _ in "ab"]
    logits, fused = head(streams, [fine, middle])
    assert logits.shape == (1, 3, 8, 6, 4)
    assert [tuple(m.shape) for m in fused] == [(1, 6, 4, 6, 2)]
    for grad in torch.autograd.grad(logits.square().sum(), [*streams, *fine, *middle]):
        assert grad.abs().sum() > 0


def test_coarser_heads_read_fused_maps_and_then_levels_of_streams():
    heads = AuxiliaryHeads([5, 4], 3)
    fused, a, b = torch.randn(1, 5, 4, 4, 4), torch.randn(1, 2, 2, 2, 2), torch.randn(1, 2, 2, 2, 2)
    fine, coarse = heads([fused], [(a, b)])
    torch.testing.assert_close(fine, heads.classify[0](fused))
    torch.testing.assert_close(coarse, heads.classify[1](torch.cat([a, b], -1).movedim(-1, 1)))
