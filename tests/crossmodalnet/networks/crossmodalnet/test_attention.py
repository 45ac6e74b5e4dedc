import math

import pytest
import torch
from torch import Tensor

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention, cross_attention


def naive(module: CrossAttention, f_a: Tensor, f_b: Tensor) -> Tensor:
    """Eq. 4 for one head, by einsum."""
    q = torch.einsum("oc,bnc->bno", module.query.weight, f_b)
    k = torch.einsum("oc,bnc->bno", module.key.weight, f_a)
    v = torch.einsum("oc,bnc->bno", module.value.weight, f_b if module.values == "b" else f_a)
    scores = torch.einsum("bnc,bmc->bnm", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("bnm,bmc->bnc", torch.softmax(scores, dim=-1), v)


@pytest.mark.parametrize("values", ["a", "b"])
def test_module_is_eq_4(values):
    module = CrossAttention(8, 1, values=values)
    f_a, f_b = torch.randn(2, 3, 10, 8)
    torch.testing.assert_close(module(f_a, f_b), naive(module, f_a, f_b))


def test_function_is_eq_4_in_every_head():
    q, k, v = torch.randn(3, 2, 3, 7, 4)
    out = cross_attention(q, k, v)
    for case in range(2):
        for head in range(3):
            weights = torch.softmax(q[case, head] @ k[case, head].T / 2.0, dim=-1)
            torch.testing.assert_close(out[case, head], weights @ v[case, head])


def test_heads_see_their_own_channels():
    module = CrossAttention(8, 2)
    f_a, f_b = torch.randn(2, 1, 5, 8)
    before = module(f_a, f_b)
    with torch.no_grad():
        module.value.weight[4:] += 1.0
    after = module(f_a, f_b)
    torch.testing.assert_close(after[..., :4], before[..., :4], rtol=0, atol=0)
    assert not torch.allclose(after[..., 4:], before[..., 4:])


def test_values_b_do_not_read_a_beyond_the_keys():
    module = CrossAttention(8, 2, values="b")
    f_b = torch.randn(1, 5, 8)
    same_keys = torch.zeros(1, 5, 8)
    # Equal keys weigh all values alike: every token becomes the mean of the values of b.
    expected = (f_b @ module.value.weight.T).mean(dim=1, keepdim=True).expand(-1, 5, -1)
    torch.testing.assert_close(module(same_keys, f_b), expected)


def test_projections_have_no_bias():
    assert not [name for name, _ in CrossAttention(8, 2).named_parameters() if "bias" in name]


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
    torch.testing.assert_close(
        cross_attention(q, k, v, mask=mask), cross_attention(q, k[:, :, :4], v[:, :, :4])
    )


def test_values_b_need_as_many_tokens_in_both_streams():
    with pytest.raises(ValueError, match=r"values: b .* got 5 and 6"):
        CrossAttention(8, 2, values="b")(torch.randn(1, 5, 8), torch.randn(1, 6, 8))
    out = CrossAttention(8, 2, values="a")(torch.randn(1, 5, 8), torch.randn(1, 6, 8))
    assert out.shape == (1, 6, 8)
