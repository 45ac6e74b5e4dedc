"""How much the convolution blocks of CrossModalNet can stretch a change: constants for Theorem 2.6.

They are not in the paper, and have no attention: their constants are those of their parts, and instance norm bounds
each by `1 / sqrt(eps)`, whatever the input. Logarithms are natural.
"""

from collections.abc import Sequence

from torch import nn

from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.convolution import ResidualConvBlock, UpConvolution
from crossmodalnet.networks.crossmodalnet.head import ConvHead, ConvStem
from crossmodalnet.theory.lipschitz_bounds import (
    added,
    average_pooling,
    convolution,
    joined,
    log,
    normalisation,
    transposed_convolution,
)


def residual_conv_block(block: nn.Module) -> float:
    """Two convolutions with their norms, beside a short cut, which is the identity or pooled, mapped and normalised."""
    assert isinstance(block, ResidualConvBlock)
    act = leaky_relu(block.act)
    branch = convolution(block.conv1) + normalisation(block.norm1) + act
    branch += convolution(block.conv2) + normalisation(block.norm2)
    shortcut = average_pooling(block_stride(block))
    if block.project is not None and block.project_norm is not None:
        shortcut += convolution(block.project) + normalisation(block.project_norm)
    return added(branch, shortcut) + act


def up_convolution(module: nn.Module, coarse: float, *skips: float) -> float:
    """Expand, join with finer maps, and a residual block; from the constants of its inputs to that of its output."""
    assert isinstance(module, UpConvolution)
    return joined(transposed_convolution(module.expand) + coarse, *skips) + residual_conv_block(module.block)


def conv_stem(stem: nn.Module) -> tuple[float, ...]:
    """Give a constant for each of a stem's maps, finest first: each is computed from the one before."""
    assert isinstance(stem, ConvStem)
    alphas, alpha = [], 0.0
    for block in stem.blocks:
        alpha += residual_conv_block(block)
        alphas.append(alpha)
    return tuple(alphas)


def conv_head(head: ConvHead, streams: Sequence[float], finer: Sequence[Sequence[float]]) -> float:
    """Go up with the finer maps of all streams to the logits.

    Args:
        head: head whose constant is wanted.
        streams: constants of the streams.
        finer: per resolution, finest first, those of the maps of each stream.
    """
    x = joined(*streams)
    for up, maps in zip(reversed(list(head.ups)), reversed(list(finer)), strict=True):
        x = up_convolution(up, x, *maps)
    return x + convolution(head.classify)


def leaky_relu(act: nn.LeakyReLU) -> float:
    """Steeper slope of the activation."""
    return log(max(1.0, abs(act.negative_slope)))


def block_stride(block: nn.Module) -> Triple:
    """Voxels per axis that a residual convolution block makes one."""
    assert isinstance(block, ResidualConvBlock)
    d, h, w = block.conv1.stride
    return d, h, w
