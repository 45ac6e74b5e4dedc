"""How much the blocks of CrossModalNet can stretch a change: constants for Theorem 2.6 from those of their parts.

A block of two arguments has a constant in each: `||d out|| <= c_own ||d own|| + c_other ||d other||`. Layer norm
before each attention bounds what it sees, so that all constants hold for every input. Logarithms are natural.
"""

import math
from collections.abc import Sequence
from math import prod

from torch import nn

from crossmodalnet.networks.common.sizes import Triple, effective_window
from crossmodalnet.networks.crossmodalnet.blocks import CrossTransformerBlock, SwinBlock
from crossmodalnet.networks.crossmodalnet.config import Residual
from crossmodalnet.networks.crossmodalnet.embedding import (
    ConvEmbedding,
    ConvMerging,
    PatchEmbedding,
    PatchExpanding,
    PatchMerging,
)
from crossmodalnet.networks.crossmodalnet.head import ConvHead, FusedHead
from crossmodalnet.networks.crossmodalnet.network import ConvSkip, SkipConnection
from crossmodalnet.theory.bound_attention import cross_attention, deformable, sampled_radius, self_attention
from crossmodalnet.theory.bound_convolution import conv_head, residual_conv_block, up_convolution
from crossmodalnet.theory.lipschitz_bounds import (
    GELU_SLOPE,
    added,
    convolution,
    joined,
    linear,
    log,
    mlp,
    normalisation,
    token_radius,
)


def swin_block(block: nn.Module) -> float:
    """Eq. 2: self-attention and MLP, each after its norm, and the residual sums."""
    assert isinstance(block, SwinBlock)
    attention = self_attention(block.attention, token_radius(block.norm1), prod(block.window))
    own, _ = residual(
        normalisation(block.norm1) + attention,
        -math.inf,
        normalisation(block.norm2) + mlp(block.mlp),
        block.residual,
    )
    return own


def cross_block(block: nn.Module, size: Triple, *, with_sampler: bool = True) -> tuple[float, float]:
    """Eq. 3: the constants in the refined stream and in the other one.

    Args:
        block: Cross Transformer block.
        size: size of the maps, tokens per axis.
        with_sampler: without, the deformable operator is left out, as if its constant were 1.
    """
    assert isinstance(block, CrossTransformerBlock)
    radius = token_radius(block.norm_keys)
    asked = normalisation(block.norm_keys)
    if block.sampler is not None:
        asked += deformable(block.sampler, radius) if with_sampler else 0.0
        radius = sampled_radius(block.sampler, radius)
    num_tokens = prod(size if block.window is None else effective_window(size, block.window))
    in_a, in_b = cross_attention(block.attention, radius, token_radius(block.norm_queries), num_tokens)
    asked, asking = asked + in_a, normalisation(block.norm_queries) + in_b
    own, other = (asked, asking) if block.refines == "keys" else (asking, asked)
    return residual(own, other, normalisation(block.norm) + mlp(block.mlp), block.residual)


def sampler_bound(block: nn.Module) -> float:
    """Eq. 7 on the keys of a Cross Transformer block, 0 (the identity) where it has no operator."""
    assert isinstance(block, CrossTransformerBlock)
    return 0.0 if block.sampler is None else deformable(block.sampler, token_radius(block.norm_keys))


def residual(own: float, other: float, branch: float, kind: Residual) -> tuple[float, float]:
    """Close a block around its attention, see `residual_block`.

    Args:
        own: constant of the attention in the stream that is refined.
        other: constant of the attention in the other stream.
        branch: constant of `MLP(LN(.))`.
        kind: paper, `branch(attended + f) + f`; standard, `x = attended + f; branch(x) + x`.

    Returns:
        the block's constants in both streams.
    """
    if kind == "paper":
        return added(0.0, branch + added(own, 0.0)), branch + other
    through = added(branch, 0.0)
    return through + added(own, 0.0), through + other


def embedding(module: nn.Module) -> float:
    """From voxels or finer maps to tokens: a linear map of blocks of voxels, or a convolution block.

    Blocks are only rearranged, and positions are constant.
    """
    if isinstance(module, ConvEmbedding):
        return residual_conv_block(module.block)
    assert isinstance(module, PatchEmbedding)
    return linear(module.proj) + normalisation(module.norm)


def merging(module: nn.Module) -> float:
    """Down a level: eight tokens are only rearranged into one and mapped; or a convolution block."""
    if isinstance(module, ConvMerging):
        return residual_conv_block(module.block)
    assert isinstance(module, PatchMerging)
    return normalisation(module.norm) + linear(module.reduce)


def expanding(module: PatchExpanding) -> float:
    """Patch expanding: a linear map, rearranged, then a norm."""
    return linear(module.expand) + normalisation(module.norm)


def skip_connection(module: nn.Module, coarse: float, skip: float) -> float:
    """Up a level, from the constants of the two inputs to that of the output."""
    if isinstance(module, ConvSkip):
        return up_convolution(module.up, coarse, skip)
    assert isinstance(module, SkipConnection)
    return joined(expanding(module.expand) + coarse, skip) + linear(module.fuse)


def head(module: nn.Module, streams: Sequence[float], finer: Sequence[Sequence[float]]) -> float:
    """Fuse the streams to logits, from the constants of the streams and of the stems' maps, see `conv_head`."""
    if isinstance(module, ConvHead):
        return conv_head(module, streams, finer)
    assert isinstance(module, FusedHead)
    assert not finer
    x = joined(*streams) + normalisation(module.norm) + expanding(module.expand) + log(GELU_SLOPE)
    return x + convolution(module.classify)
