import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from crossmodalnet.networks.crossmodalnet.blocks import (
    SwinBlock,
    WindowAttention,
    relative_index,
    residual_block,
)


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
    assert residual_block(f, attended, lambda x: 10 * x, nn.Identity(), "paper") == 10 * (3 + 2) + 2
    assert residual_block(f, attended, lambda x: 10 * x, nn.Identity(), "standard") == 10 * (3 + 2) + 3 + 2


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
