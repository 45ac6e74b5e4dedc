import math

import pytest
import torch
from torch import Tensor

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention, cross_attention


def naive(module: CrossAttention, f_a: Tensor, f_b: Tensor, heads: int) -> Tensor:
    """Eq. 4, one head at a time."""
    q, k = f_b @ module.query.weight.T, f_a @ module.key.weight.T
    v = (f_b if module.values == "b" else f_a) @ module.value.weight.T
    per_head = zip(*(x.chunk(heads, dim=-1) for x in (q, k, v)), strict=True)
    return torch.cat([(q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v for q, k, v in per_head], dim=-1)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("values", ["a", "b"])
def test_module_is_eq_4_in_every_head(values, heads):
    module = CrossAttention(8, heads, values=values)
    f_a, f_b = torch.randn(2, 3, 10, 8)
    torch.testing.assert_close(module(f_a, f_b), naive(module, f_a, f_b, heads))


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("values", ["a", "b"])
def test_permutation_equivariance(similarity, values):
    module = CrossAttention(8, 2, values=values, similarity=similarity)
    f_a, f_b = torch.randn(2, 1, 20, 8)
    order = torch.randperm(20)
    torch.testing.assert_close(module(f_a[:, order], f_b[:, order]), module(f_a, f_b)[:, order])


@pytest.mark.parametrize("values", ["a", "b"])
def test_cosine_is_scale_invariant(values):
    module = CrossAttention(8, 2, values=values, similarity="cosine")
    f_a, f_b = torch.randn(2, 1, 20, 8)
    # A power of two scales floats without rounding: the claim holds bit for bit.
    assert torch.equal(module(4 * f_a, 4 * f_b), 4 * module(f_a, f_b))
    torch.testing.assert_close(module(0.3 * f_a, 0.3 * f_b), 0.3 * module(f_a, f_b))


def test_cosine_scores_by_hand():
    q, k = torch.tensor([[[[3.0, 4.0]]]]), torch.tensor([[[[10.0, 0.0], [0.0, 0.1]]]])
    v = torch.tensor([[[[1.0], [0.0]]]])
    weight = math.exp(5 * 0.6) / (math.exp(5 * 0.6) + math.exp(5 * 0.8))
    out = cross_attention(q, k, v, similarity="cosine", scale=torch.tensor(5.0))
    torch.testing.assert_close(out, torch.tensor([[[[weight]]]]))


def test_masked_keys_are_not_attended_to():
    q, k, v = torch.randn(3, 1, 1, 6, 4)
    mask = torch.zeros(6, 6)
    mask[:, 4:] = -torch.inf
    few = cross_attention(q, k[:, :, :4], v[:, :, :4])
    torch.testing.assert_close(cross_attention(q, k, v, mask=mask), few)


def test_values_b_need_as_many_tokens_in_both_streams():
    with pytest.raises(ValueError, match=r"values: b .* got 5 and 6"):
        CrossAttention(8, 2, values="b")(torch.randn(1, 5, 8), torch.randn(1, 6, 8))
    assert CrossAttention(8, 2, values="a")(torch.randn(1, 5, 8), torch.randn(1, 6, 8)).shape == (1, 6, 8)
