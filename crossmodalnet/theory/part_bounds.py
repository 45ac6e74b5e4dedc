"""Bound the Lipschitz constants of layers, attention (Eq. 4) and the deformable operator (Eq. 7).

Constants are for the Euclidean norm over a whole tensor, hold for every input, and are natural logarithms, because
their product over a network overflows.

Attention of n queries with tokens of bounded norm: `o_i = sum_j p_ij v_j`, `p_i = softmax_j(q_i k_j / sqrt(d))`.
With `|v_j| <= V`, `|k_j| <= K`, `|q_i| <= Q`, and covariances under the weights `p_i`:

    values   `|P|_2 <= sqrt(|P|_1 |P|_inf) <= sqrt(n)`, since rows of P sum to 1 and columns to at most n.
    queries  `do_i = Cov(v, k) dq_i / sqrt(d)` and `|Cov(v, k)| <= V K`, for each token by itself.
    keys     `do_i = sum_j p_ij (v_j - mean) (q_i dk_j) / sqrt(d)`, so by Cauchy and Schwarz
             `|do_i| <= V Q / sqrt(d) (sum_j p_ij |dk_j|^2)^(1/2)`; over all i at most sqrt(n) times `|dk|`.

Windows share no token, so one constant serves all. Masks and position biases do not depend on the input.
"""

import math
from collections.abc import Sequence
from itertools import product
from math import prod

import numpy as np
import torch
from scipy.special import ndtr
from timm.layers import Mlp
from torch import Tensor, nn

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.blocks import WindowAttention
from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator, _corners

_SMALLEST = 1e-300  # keeps logarithms finite: a larger constant is a bound too
# The slope of GELU is ndtr(x) + x pdf(x); its derivative (2 - x^2) pdf(x) is zero at the square root of 2.
GELU_SLOPE = float(ndtr(math.sqrt(2))) + math.sqrt(2) * math.exp(-1) / math.sqrt(2 * math.pi)
_UNIT_EPS = 1e-12  # of `torch.nn.functional.normalize`, whose constant is 1 over this


def log(value: float) -> float:
    """Compute the natural logarithm; values below 1e-300 count as 1e-300."""
    return math.log(max(value, _SMALLEST))


def added(*logs: float) -> float:
    """Add constants in log space: sums of branches, or arguments that change together."""
    return float(np.logaddexp.reduce(logs))


def joined(*logs: float) -> float:
    """Take the root of the sum of squares of constants in log space: outputs concatenated in one tensor."""
    return float(np.logaddexp.reduce([2 * value for value in logs])) / 2


def spectral_norm(matrix: Tensor) -> float:
    """Compute the largest singular value in double precision; no log."""
    return float(torch.linalg.matrix_norm(matrix.detach().double().cpu(), 2))


def layer(module: nn.Module) -> float:
    """Bound an elementary layer; exact for all but convolutions and norms."""
    match module:
        case nn.Identity():
            return 0.0
        case nn.Linear():
            return log(spectral_norm(module.weight))
        case nn.Conv3d():
            return _convolution(module)
        case nn.ConvTranspose3d():  # each voxel becomes a block, by one map (in, out * offsets)
            assert module.stride == module.kernel_size
            return log(spectral_norm(module.weight.flatten(1)))
        case nn.AvgPool3d():  # means of disjoint blocks of n voxels: 1 / sqrt(n)
            assert isinstance(module.kernel_size, tuple)
            return -math.log(prod(module.kernel_size)) / 2
        case nn.LeakyReLU():
            return log(max(1.0, abs(module.negative_slope)))
        case Mlp():
            return layer(module.fc1) + log(GELU_SLOPE) + layer(module.fc2)
        case nn.LayerNorm() | nn.GroupNorm() | nn.InstanceNorm3d():
            # At most max |gamma| / sqrt(variance + eps): changes of mean or variance are projected out.
            assert module.weight is not None
            return log(float(module.weight.detach().abs().max())) - math.log(module.eps) / 2
    raise TypeError(f"no bound is known for {type(module).__name__}")


def _convolution(module: nn.Conv3d) -> float:
    """Bound a convolution with zero padding and any stride, by the smaller of two bounds.

    1. Sum over kernel offsets: each picks voxels at most once. Offsets that differ modulo the stride pick different
       voxels, so their constants are joined; the others are added.
    2. One map of patches: a voxel lies in as many patches as offsets equal it modulo the stride.
    """
    kernel = module.weight.flatten(2)  # (out, in, offsets)
    remainders = [
        tuple(k % s for k, s in zip(offset, module.stride, strict=True))
        for offset in product(*map(range, module.kernel_size))
    ]
    sums = dict.fromkeys(remainders, 0.0)
    for i, remainder in enumerate(remainders):
        sums[remainder] += spectral_norm(kernel[:, :, i])
    times = torch.tensor([remainders.count(remainder) for remainder in remainders], device=kernel.device)
    by_patch = spectral_norm((kernel * times.sqrt()).flatten(1))
    return log(min(math.hypot(*sums.values()), by_patch))


def token_radius(norm: nn.LayerNorm) -> float:
    """Bound the norm of a token after layer norm, `max |gamma| sqrt(c) + ||beta||`; no log."""
    shift = 0.0 if norm.bias is None else float(norm.bias.detach().norm())
    return float(norm.weight.detach().abs().max()) * math.sqrt(norm.normalized_shape[0]) + shift


def self_attention(attention: WindowAttention, radius: float, num_tokens: int) -> float:
    """Bound windowed self-attention of tokens with norms up to `radius`, and its projection."""
    q, k, v = attention.qkv.weight.chunk(3)
    bounds = scaled_attention(q, k, v, attention.num_heads, (radius, radius, radius), num_tokens)
    return added(*bounds) + layer(attention.proj)  # one token is query, key and value


def cross_attention(
    attention: CrossAttention, radius_a: float, radius_b: float, num_tokens: int
) -> tuple[float, float]:
    """Bound Eq. 4 in stream a (keys) and stream b (queries); tokens have norms up to `radius_*`."""
    weights = attention.query.weight, attention.key.weight, attention.value.weight
    values_from_b = attention.values == "b"
    radii = (radius_b, radius_a, radius_b if values_from_b else radius_a)
    scales = None if attention.log_scale is None else attention.log_scale.detach().exp().flatten().tolist()
    values, queries, keys = scaled_attention(*weights, attention.num_heads, radii, num_tokens, scales)
    if values_from_b:
        return keys, added(queries, values)
    return added(keys, values), queries


def scaled_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    radii: tuple[float, float, float],
    num_tokens: int,
    scales: Sequence[float] | None = None,
) -> tuple[float, float, float]:
    """Bound attention in its values, queries and keys, from the weights (c, c) of their projections.

    `radii`: largest norms of the tokens of queries, keys and values. `scales`: query lengths per head of cosine
    attention; its keys have length 1, and only the 1e-12 floor of the norm keeps the constants finite.
    """
    queries, keys = [], []
    heads = zip(*(weight.chunk(num_heads) for weight in (query, key, value)), strict=True)
    for head, projections in enumerate(heads):
        q, k, v = (spectral_norm(rows) for rows in projections)
        if scales is None:
            shared = log(q) + log(k) + log(v * radii[2]) - math.log(query.shape[0] / num_heads) / 2
            in_query, in_key = shared + log(radii[1]), shared + log(radii[0])
        else:
            shared = log(v * radii[2]) + log(scales[head]) - math.log(_UNIT_EPS)
            in_query, in_key = shared + log(q), shared + log(k)
        queries.append(in_query)
        keys.append(in_key + math.log(num_tokens) / 2)
    # Heads weight the parts of one projected tensor, each by at most `sqrt(n)`.
    values = math.log(num_tokens) / 2 + log(spectral_norm(value))
    return values, joined(*queries), joined(*keys)


def deformable(operator: DeformableOperator, radius: float) -> float:
    """Bound Eq. 7, `sum_k w_k F(p + dp_k)` by trilinear interpolation; `radius`: largest norm of a token of F.

    Static offsets make it linear in F: row and column sums. With predicted offsets a voxel is near at most `reach`
    locations; a change of F also moves the offsets, and interpolated features change by at most the distance of two
    tokens per axis and voxel.
    """
    weights = operator.weights.detach().double().abs()
    if operator.predict is None:
        assert operator.raw_offsets is not None
        offsets = operator.max_offset * torch.tanh(operator.raw_offsets.detach().double())
        indices, coefficients = _corners(offsets, list(operator.size))  # (1, locations, K, 8)
        magnitudes = coefficients * weights[:, None]
        columns = torch.bincount(indices.flatten().cpu(), weights=magnitudes.flatten().cpu())
        return (log(float(magnitudes.sum((2, 3)).max())) + log(float(columns.max()))) / 2
    reach = (2 * math.ceil(1 + operator.max_offset) - 1) ** 3
    at_fixed_offsets = log(float(weights.sum())) + math.log(reach) / 2
    slope = 2 * math.sqrt(3) * radius * float(weights.norm()) * operator.max_offset
    return added(at_fixed_offsets, log(slope) + layer(operator.predict))


def sampled_radius(operator: DeformableOperator, radius: float) -> float:
    """Bound the norm of a token after the operator, `sum |w_k|` times `radius`; no log."""
    return float(operator.weights.detach().abs().sum()) * radius
