import pytest
import torch
from torch import nn

from crossmodalnet.networks.common.windows import partition, reverse
from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.blocks import CrossTransformerBlock
from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator


def make_block(window=None, values="b", deformable=False, size=(4, 4, 4), **options):
    sampler = DeformableOperator(6, size, num_points=2) if deformable else None
    block = CrossTransformerBlock(
        6, CrossAttention(6, 2, values=values), window=window, sampler=sampler, **options
    )
    for norm in (block.norm_keys, block.norm_queries, block.norm):
        nn.init.normal_(norm.weight)
    return block


@torch.no_grad()
def test_paper_residual_is_eq_2_with_cross_attention():
    block = make_block()
    f_a, f_b = torch.randn(2, 1, 4, 4, 4, 6)
    tokens_a, tokens_b = block.norm_keys(f_a).view(1, 64, 6), block.norm_queries(f_b).view(1, 64, 6)
    attended = block.attention(tokens_a, tokens_b).view(f_a.shape)
    torch.testing.assert_close(block(f_a, f_b), block.mlp(block.norm(attended + f_a)) + f_a)


@torch.no_grad()
def test_standard_residual_with_cross_attention():
    block = make_block(residual="standard")
    f_a, f_b = torch.randn(2, 1, 4, 4, 4, 6)
    tokens_a, tokens_b = block.norm_keys(f_a).view(1, 64, 6), block.norm_queries(f_b).view(1, 64, 6)
    x = block.attention(tokens_a, tokens_b).view(f_a.shape) + f_a
    torch.testing.assert_close(block(f_a, f_b), block.mlp(block.norm(x)) + x)


@torch.no_grad()
def test_refining_the_queries_swaps_the_roles():
    block = make_block(refines="queries", values="a")
    own, other = torch.randn(2, 1, 4, 4, 4, 6)
    keys, queries = block.norm_keys(other).view(1, 64, 6), block.norm_queries(own).view(1, 64, 6)
    attended = block.attention(keys, queries).view(own.shape)
    torch.testing.assert_close(block(own, other), block.mlp(block.norm(attended + own)) + own)


@torch.no_grad()
@pytest.mark.parametrize("size", [(4, 4, 4), (3, 4, 2)])
def test_one_window_over_all_is_full_attention(size):
    full, windowed = make_block(window=None), make_block(window=size)
    windowed.load_state_dict(full.state_dict())
    f_a, f_b = torch.randn(2, 2, *size, 6)
    torch.testing.assert_close(windowed(f_a, f_b), full(f_a, f_b))
    wider = make_block(window=(5, 4, 4))
    wider.load_state_dict(full.state_dict())
    torch.testing.assert_close(wider(f_a, f_b), full(f_a, f_b))


@torch.no_grad()
@pytest.mark.parametrize("size", [(4, 2, 2), (5, 3, 3)])
def test_each_window_is_full_attention_of_its_own_tokens(size):
    block, full = make_block(window=(2, 2, 2)), make_block(window=None)
    full.load_state_dict(block.state_dict())
    f_a, f_b = torch.randn(2, 1, *size, 6)
    out = block(f_a, f_b)
    for d in range(0, size[0], 2):
        for h in range(0, size[1], 2):
            for w in range(0, size[2], 2):
                cut = (slice(None), slice(d, d + 2), slice(h, h + 2), slice(w, w + 2))
                torch.testing.assert_close(out[cut], full(f_a[cut], f_b[cut]))


@torch.no_grad()
@pytest.mark.parametrize("values", ["a", "b"])
def test_the_operator_acts_on_the_stream_of_the_keys(values):
    block = make_block(deformable=True, values=values)
    f_a, f_b = torch.randn(2, 1, 4, 4, 4, 6)
    sampled = block.sampler(block.norm_keys(f_a))
    attended = block.attention(partition(sampled, (4, 4, 4)), partition(block.norm_queries(f_b), (4, 4, 4)))
    attended = reverse(attended, (4, 4, 4), (4, 4, 4))
    torch.testing.assert_close(block(f_a, f_b), block.mlp(block.norm(attended + f_a)) + f_a)


@torch.no_grad()
def test_the_operator_can_undo_a_shift():
    block = make_block(values="a", deformable=True, size=(8, 4, 4))
    block.sampler.raw_offsets.zero_()
    block.sampler.raw_offsets[..., 0] = torch.atanh(torch.tensor(0.5))  # 1 of max_offset 2
    f_a, f_b = torch.randn(2, 1, 8, 4, 4, 6)
    shifted = torch.roll(f_a, 1, dims=1)
    plain = make_block(values="a", window=(2, 2, 2))
    block.window = (2, 2, 2)
    plain.load_state_dict(block.state_dict(), strict=False)
    undone = block._attend(block.sampler(block.norm_keys(shifted)), block.norm_queries(f_b))
    aligned = plain._attend(plain.norm_keys(f_a), plain.norm_queries(f_b))
    torch.testing.assert_close(undone[:, :6], aligned[:, :6], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_inputs_are_left_alone():
    block = make_block(deformable=True)
    f_a, f_b = torch.randn(2, 1, 4, 4, 4, 6)
    copies = f_a.clone(), f_b.clone()
    block(f_a, f_b)
    assert torch.equal(f_a, copies[0])
    assert torch.equal(f_b, copies[1])
