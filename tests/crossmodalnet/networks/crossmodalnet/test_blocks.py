import itertools

import pytest
import torch
from torch import nn

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.blocks import CrossTransformerBlock, SwinBlock
from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator
from crossmodalnet.theory.blocks import equation_2


@pytest.mark.parametrize("size", [(4, 4, 4), (5, 3, 4), (2, 5, 2)])
@pytest.mark.parametrize("shifted", [False, True])
@torch.no_grad()
def test_blocks_are_eq_2_token_by_token(size, shifted):
    window = tuple(min(n, 2) if n % 2 == 0 else 3 for n in size)
    block, f = SwinBlock(4, 2, window, shifted=shifted), torch.randn(1, *size, 4)
    nn.init.normal_(block.attention.position_bias)
    expected = [equation_2(block, f[0], position) for position in itertools.product(*map(range, size))]
    torch.testing.assert_close(block(f)[0], torch.stack(expected).view(*size, 4))


@torch.no_grad()
def test_standard_residual_keeps_the_attention():
    block = SwinBlock(6, 1, (2, 2, 2), shifted=False, residual="standard")
    f = torch.randn(1, 2, 2, 2, 6)
    x = block.attention(block.norm1(f).view(1, 8, 6)).view(f.shape) + f
    torch.testing.assert_close(block(f), block.mlp(block.norm2(x)) + x)


@torch.no_grad()
def test_cases_of_a_batch_do_not_mix():
    block = SwinBlock(4, 2, (2, 2, 2), shifted=True)
    f = torch.randn(3, 5, 4, 3, 4)
    torch.testing.assert_close(block(f)[1:2], block(f[1:2]))


def make_block(window=None, values="b", deformable=False, size=(4, 4, 4), **options):
    sampler = DeformableOperator(6, size, num_points=2) if deformable else None
    attention = CrossAttention(6, 2, values=values)
    block = CrossTransformerBlock(6, attention, window=window, sampler=sampler, **options)
    for norm in (block.norm_keys, block.norm_queries, block.norm):
        nn.init.normal_(norm.weight)
    return block


@torch.no_grad()
@pytest.mark.parametrize(
    ("residual", "refines", "values"), [("paper", "keys", "b"), ("standard", "keys", "b"), ("paper", "queries", "a")]
)
def test_residuals_of_eq_2_with_cross_attention(residual, refines, values):
    block = make_block(residual=residual, refines=refines, values=values)
    own, other = torch.randn(2, 1, 4, 4, 4, 6)
    keys, queries = (own, other) if refines == "keys" else (other, own)
    tokens = block.norm_keys(keys).view(1, 64, 6), block.norm_queries(queries).view(1, 64, 6)
    x = block.attention(*tokens).view(own.shape) + own
    rest = own if residual == "paper" else x
    torch.testing.assert_close(block(own, other), block.mlp(block.norm(x)) + rest)


@torch.no_grad()
@pytest.mark.parametrize("size", [(4, 4, 4), (3, 4, 2)])
def test_one_window_over_all_is_full_attention(size):
    full, (f_a, f_b) = make_block(window=None), torch.randn(2, 2, *size, 6)
    for window in (size, (5, 4, 4)):
        windowed = make_block(window=window)
        windowed.load_state_dict(full.state_dict())
        torch.testing.assert_close(windowed(f_a, f_b), full(f_a, f_b))


@torch.no_grad()
@pytest.mark.parametrize("size", [(4, 2, 2), (5, 3, 3)])
def test_each_window_is_full_attention_of_its_own_tokens(size):
    block, full = make_block(window=(2, 2, 2)), make_block(window=None)
    full.load_state_dict(block.state_dict())
    f_a, f_b = torch.randn(2, 1, *size, 6)
    out = block(f_a, f_b)
    for corner in itertools.product(*(range(0, n, 2) for n in size)):
        cut = (slice(None), *(slice(n, n + 2) for n in corner))
        torch.testing.assert_close(out[cut], full(f_a[cut], f_b[cut]))


@torch.no_grad()
@pytest.mark.parametrize("values", ["a", "b"])
def test_the_operator_acts_on_the_stream_of_the_keys(values):
    block = make_block(deformable=True, values=values)
    f_a, f_b = torch.randn(2, 1, 4, 4, 4, 6)
    sampled, queries = block.sampler(block.norm_keys(f_a)), block.norm_queries(f_b)
    attended = block.attention(sampled.view(1, 64, 6), queries.view(1, 64, 6)).view(f_a.shape)
    torch.testing.assert_close(block(f_a, f_b), block.mlp(block.norm(attended + f_a)) + f_a)


@torch.no_grad()
def test_inputs_are_left_alone():
    block = make_block(deformable=True)
    streams = torch.randn(2, 1, 4, 4, 4, 6)
    before = streams.clone()
    block(*streams)
    assert torch.equal(streams, before)
