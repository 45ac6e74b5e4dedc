import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from crossmodalnet.networks.common.windows import partition, reverse
from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.blocks import (
    CrossTransformerBlock,
    SwinBlock,
    WindowAttention,
    relative_index,
    residual_block,
)
from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator


def naive_attention(block: SwinBlock, f: Tensor, shift: tuple[int, int, int]) -> Tensor:
    """Windowed self-attention of a map (d, h, w, c), one token and one head at a time."""
    attention, window = block.attention, block.window
    x = block.norm1(f)
    positions = list(itertools.product(*(range(n) for n in f.shape[:3])))
    group = {p: tuple((x - s) // n for x, s, n in zip(p, shift, window, strict=True)) for p in positions}
    heads, c = attention.num_heads, f.shape[-1]
    qkv = (x @ attention.qkv.weight.T).unflatten(-1, (3, heads, c // heads))
    table = attention.position_bias.view(*(2 * n - 1 for n in window), heads)
    out = torch.zeros_like(f)
    for p in positions:
        keys = [q for q in positions if group[q] == group[p]]
        for head in range(heads):
            scores = [
                qkv[p][0, head] @ qkv[q][1, head] / math.sqrt(c // heads)
                + table[tuple(i - j + n - 1 for i, j, n in zip(p, q, window, strict=True))][head]
                for q in keys
            ]
            weights = torch.softmax(torch.stack(scores), dim=0)
            value = sum(w * qkv[q][2, head] for w, q in zip(weights, keys, strict=True))
            out[p][head * (c // heads) : (head + 1) * (c // heads)] = value
    return attention.proj(out)


@pytest.mark.parametrize("size", [(4, 4, 4), (5, 3, 4), (2, 5, 2)])
@pytest.mark.parametrize("shifted", [False, True])
@torch.no_grad()
def test_windows_agree_with_loops_over_tokens(size, shifted):
    window = tuple(min(n, 2) if n % 2 == 0 else 3 for n in size)
    block = SwinBlock(4, 2, window, shifted=shifted)
    nn.init.normal_(block.attention.position_bias)
    f = torch.randn(1, *size, 4)
    # An axis that one window covers is not shifted.
    shift = tuple(m // 2 if shifted and n > m else 0 for n, m in zip(size, window, strict=True))
    expected = f[0] + block.mlp(block.norm2(naive_attention(block, f[0], shift) + f[0]))
    torch.testing.assert_close(block(f)[0], expected)


@torch.no_grad()
def test_paper_residual_is_eq_2():
    block = SwinBlock(6, 1, (2, 2, 2), shifted=False, residual="paper")
    f = torch.randn(1, 2, 2, 2, 6)
    msa = block.attention(block.norm1(f).view(1, 8, 6)).view(f.shape)
    torch.testing.assert_close(block(f), block.mlp(block.norm2(msa + f)) + f)


@torch.no_grad()
def test_standard_residual_keeps_the_attention():
    block = SwinBlock(6, 1, (2, 2, 2), shifted=False, residual="standard")
    f = torch.randn(1, 2, 2, 2, 6)
    x = block.attention(block.norm1(f).view(1, 8, 6)).view(f.shape) + f
    torch.testing.assert_close(block(f), block.mlp(block.norm2(x)) + x)


def test_residuals_by_hand():
    f, attended = torch.tensor(2.0), torch.tensor(3.0)
    assert residual_block(f, attended, lambda x: 10 * x, "paper") == 10 * (3 + 2) + 2
    assert residual_block(f, attended, lambda x: 10 * x, "standard") == 10 * (3 + 2) + 3 + 2


def test_relative_index_numbers_displacements():
    index = relative_index((2, 1, 3))
    assert index.shape == (6, 6)
    assert index.diagonal().unique().numel() == 1
    # Tokens 0, 1, 2 lie along w; the step from 0 to 1 is that from 1 to 2, and differs from its reverse.
    assert index[0, 1] == index[1, 2] == index[3, 4] != index[1, 0]
    assert index.unique().numel() == 3 * 1 * 5


@torch.no_grad()
def test_relative_position_bias_adds_to_the_scores():
    attention = WindowAttention(4, 1, (1, 1, 2))
    nn.init.zeros_(attention.qkv.weight[:8])
    attention.position_bias.copy_(torch.tensor([[0.0], [5.0], [0.0]]))
    x = torch.randn(1, 2, 4)
    v = x[0] @ attention.qkv.weight[8:].T
    share = math.exp(5) / (math.exp(5) + 1)
    expected = attention.proj(share * v + (1 - share) * v.flip(0))
    torch.testing.assert_close(attention(x)[0], expected)


@torch.no_grad()
def test_shifted_windows_reach_across_the_border_of_plain_ones():
    f = torch.randn(1, 4, 1, 1, 4)
    moved = f.clone()
    moved[0, 2] += torch.randn(4)
    for shifted, reached in ((False, False), (True, True)):
        block = SwinBlock(4, 1, (2, 1, 1), shifted=shifted)
        assert torch.equal(block(f)[0, 1], block(moved)[0, 1]) is not reached


@torch.no_grad()
def test_cases_of_a_batch_do_not_mix():
    block = SwinBlock(4, 2, (2, 2, 2), shifted=True)
    f = torch.randn(3, 5, 4, 3, 4)
    torch.testing.assert_close(block(f)[1:2], block(f[1:2]))


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
