"""An upper bound on the Lipschitz constant of CrossModalNet (Theorem 2.6), and the paper's (Eq. 30) beside it.

Every feature map F has a constant alpha with `||dF|| <= alpha ||dx||`, for the change dx of both images together.
It is carried from part to part; sums of branches add up, and maps side by side join as a root of squares.
A block of two arguments has a constant in each: `||d out|| <= c_own ||d own|| + c_other ||d other||`. The norms inside
the blocks make all constants hold for every input. Logarithms are natural but where they are called decimal.
"""

import math
from collections.abc import Iterator, Sequence
from math import prod

from torch import nn

from crossmodalnet.networks.common.sizes import Triple, effective_window
from crossmodalnet.networks.crossmodalnet.choices import Residual
from crossmodalnet.networks.crossmodalnet.convolution import ResidualConvBlock, UpConvolution
from crossmodalnet.networks.crossmodalnet.cross import CrossTransformerBlock
from crossmodalnet.networks.crossmodalnet.embedding import (
    ConvEmbedding,
    ConvMerging,
    PatchEmbedding,
    PatchExpanding,
    PatchMerging,
)
from crossmodalnet.networks.crossmodalnet.head import ConvHead, ConvStem, FusedHead
from crossmodalnet.networks.crossmodalnet.network import ConvSkip, CrossModalNet, DualLayer, SkipConnection
from crossmodalnet.networks.crossmodalnet.swin import SwinBlock
from crossmodalnet.theory.part_bounds import (
    GELU_SLOPE,
    added,
    average_pooling,
    convolution,
    cross_attention,
    deformable,
    joined,
    leaky_relu,
    linear,
    log,
    mlp,
    normalisation,
    sampled_radius,
    self_attention,
    token_radius,
    transposed_convolution,
)

Alphas = tuple[float, ...]


def residual_conv_block(block: nn.Module) -> float:
    """Bound two convolutions with their norms, beside a short cut: the identity, or pooled, mapped and normalised."""
    assert isinstance(block, ResidualConvBlock)
    act = leaky_relu(block.act)
    branch = convolution(block.conv1) + normalisation(block.norm1) + act
    branch += convolution(block.conv2) + normalisation(block.norm2)
    shortcut = average_pooling(block_stride(block))
    if block.project is not None and block.project_norm is not None:
        shortcut += convolution(block.project) + normalisation(block.project_norm)
    return added(branch, shortcut) + act


def block_stride(block: nn.Module) -> Triple:
    """Give the voxels per axis that a residual convolution block reduces to one."""
    assert isinstance(block, ResidualConvBlock)
    d, h, w = block.conv1.stride
    return d, h, w


def up_convolution(module: nn.Module, coarse: float, *skips: float) -> float:
    """Carry constants through an expansion, the concatenation with finer maps, and a residual block."""
    assert isinstance(module, UpConvolution)
    return joined(transposed_convolution(module.expand) + coarse, *skips) + residual_conv_block(module.block)


def conv_stem(stem: nn.Module) -> Alphas:
    """Bound each of a stem's maps, finest first: each is computed from the one before."""
    assert isinstance(stem, ConvStem)
    alphas, alpha = [], 0.0
    for block in stem.blocks:
        alpha += residual_conv_block(block)
        alphas.append(alpha)
    return tuple(alphas)


def swin_block(block: nn.Module) -> float:
    """Bound Eq. 2: self-attention and MLP, each after its norm, and the residual sums."""
    assert isinstance(block, SwinBlock)
    attention = self_attention(block.attention, token_radius(block.norm1), prod(block.window))
    branch = normalisation(block.norm2) + mlp(block.mlp)
    return residual(normalisation(block.norm1) + attention, -math.inf, branch, block.residual)[0]


def cross_block(block: nn.Module, size: Triple, *, with_sampler: bool = True) -> tuple[float, float]:
    """Bound Eq. 3 in the refined stream and in the other one.

    Args:
        block: Cross Transformer block.
        size: size of the maps, tokens per axis.
        with_sampler: False leaves the deformable operator out, as if its constant were 1.
    """
    assert isinstance(block, CrossTransformerBlock)
    radius = token_radius(block.norm_keys)
    keys = normalisation(block.norm_keys)
    if block.sampler is not None:
        keys += deformable(block.sampler, radius) if with_sampler else 0.0
        radius = sampled_radius(block.sampler, radius)
    num_tokens = prod(size if block.window is None else effective_window(size, block.window))
    in_a, in_b = cross_attention(block.attention, radius, token_radius(block.norm_queries), num_tokens)
    keys, queries = keys + in_a, normalisation(block.norm_queries) + in_b
    own, other = (keys, queries) if block.refines == "keys" else (queries, keys)
    return residual(own, other, normalisation(block.norm) + mlp(block.mlp), block.residual)


def sampler_bound(block: nn.Module) -> float:
    """Bound Eq. 7 on the keys of a Cross Transformer block, 0 (the identity) without an operator."""
    assert isinstance(block, CrossTransformerBlock)
    return 0.0 if block.sampler is None else deformable(block.sampler, token_radius(block.norm_keys))


def residual(own: float, other: float, branch: float, kind: Residual) -> tuple[float, float]:
    """Close a block around its attention, see `residual_block`; gives its constants in both streams.

    Args:
        own: constant of the attention in the refined stream.
        other: constant of the attention in the other stream.
        branch: constant of `MLP(LN(.))`.
        kind: paper, `branch(attended + f) + f`; standard, `x = attended + f; branch(x) + x`.
    """
    if kind == "paper":
        return added(0.0, branch + added(own, 0.0)), branch + other
    through = added(branch, 0.0)
    return through + added(own, 0.0), through + other


def embedding(module: nn.Module) -> float:
    """Bound the map from voxels or finer maps to tokens: linear on blocks of voxels, or a convolution block.

    Blocks are only rearranged, and positions are constant.
    """
    if isinstance(module, ConvEmbedding):
        return residual_conv_block(module.block)
    assert isinstance(module, PatchEmbedding)
    return linear(module.proj) + normalisation(module.norm)


def merging(module: nn.Module) -> float:
    """Bound the way down a level: eight tokens rearranged into one and mapped; or a convolution block."""
    if isinstance(module, ConvMerging):
        return residual_conv_block(module.block)
    assert isinstance(module, PatchMerging)
    return normalisation(module.norm) + linear(module.reduce)


def expanding(module: PatchExpanding) -> float:
    """Bound patch expanding: a linear map, rearranged, then a norm."""
    return linear(module.expand) + normalisation(module.norm)


def skip_connection(module: nn.Module, coarse: float, skip: float) -> float:
    """Carry the constants of the two inputs up a level."""
    if isinstance(module, ConvSkip):
        return up_convolution(module.up, coarse, skip)
    assert isinstance(module, SkipConnection)
    return joined(expanding(module.expand) + coarse, skip) + linear(module.fuse)


def head(module: nn.Module, streams: Sequence[float], finer: Sequence[Sequence[float]]) -> float:
    """Carry the constants of the streams to the logits.

    Args:
        module: either kind of head.
        streams: constants of the streams.
        finer: per resolution, finest first, those of the stem's map of each stream; used by `ConvHead`.
    """
    x = joined(*streams)
    if isinstance(module, ConvHead):
        for up, maps in zip(reversed(list(module.ups)), reversed(list(finer)), strict=True):
            x = up_convolution(up, x, *maps)
        return x + convolution(module.classify)
    assert isinstance(module, FusedHead)
    assert not finer
    x = x + normalisation(module.norm) + expanding(module.expand) + log(GELU_SLOPE)
    return x + convolution(module.classify)


def upper_bound(network: CrossModalNet, patch_size: Triple) -> float:
    """Decimal logarithm of a constant L with `||F(x) - F(y)|| <= L ||x - y||` for all images, F the logits.

    With a token for a missing image, it holds for all x and y with the same images: no constant bounds the change
    when one goes missing.
    """
    return cumulative_bounds(network, patch_size)[-1][1]


def cumulative_bounds(network: CrossModalNet, patch_size: Triple) -> list[tuple[str, float]]:
    """Name each part in the order of the computation, with the decimal logarithm of the bound up to there."""
    sizes = map_sizes(network, patch_size)
    pyramids = [conv_stem(stem) for stem in network.stems]
    finer: list[Alphas] = list(zip(*pyramids, strict=True))  # per resolution, of each stream
    parts = [("stem", joined(*(alpha for maps in finer for alpha in maps)))] if finer else []
    images = finer[-1] if finer else (0.0,) * len(network.inputs)
    streams = tuple(image + embedding(m) for image, m in zip(images, network.embeddings, strict=True))
    parts.append(("embedding", joined(*streams)))
    skips: list[Alphas] = []
    for level, layers in enumerate(network.encoder):
        if level:
            skips.append(streams)
            modules = network.mergings[level - 1].children()
            streams = tuple(alpha + merging(m) for alpha, m in zip(streams, modules, strict=True))
        streams = _through(layers, streams, sizes[level])
        parts.append((f"encoder {level + 1}", joined(*streams)))
    for level in reversed(range(len(skips))):
        inputs = zip(network.skips[level].children(), streams, skips[level], strict=True)
        streams = tuple(skip_connection(m, coarse, skip) for m, coarse, skip in inputs)
        streams = _through(network.decoder[level], streams, sizes[level])
        parts.append((f"decoder {level + 1}", joined(*streams)))
    parts.append(("head", head(network.head, streams, finer)))
    return [(name, value / math.log(10)) for name, value in parts]


def _through(layers: nn.Module, streams: Alphas, size: Triple) -> Alphas:
    """Carry the constants of the streams through the layers of a level."""
    for layer in layers.children():
        assert isinstance(layer, DualLayer)
        streams = tuple(
            alpha + sum(swin_block(block) for block in blocks.children())
            for alpha, blocks in zip(streams, layer.swin, strict=True)
        )
        if layer.cross is not None:
            constants = [cross_block(block, size) for block in layer.cross]
            pairs = zip(constants, streams, reversed(streams), strict=True)
            streams = tuple(added(own + a, other + b) for (own, other), a, b in pairs)
    return streams


def paper_bound(network: CrossModalNet, patch_size: Triple) -> dict[str, float]:
    """Compute Eq. 30, `(L_S L_C L_D)^d`, with the largest constant of each kind of block.

    Returns:
        decimal logarithms of L_S, L_C (Cross Transformer block without its operator, both streams together),
        L_D and of the formula, 0 for a kind that the network does not have; `depth` is d, the number of layers of
        encoder and decoder.
    """
    swin, cross, sampler, depth = [], [], [], 0
    for layer, size in _layers(network, patch_size):
        depth += 1
        swin += [swin_block(block) for blocks in layer.swin for block in blocks.children()]
        for block in layer.cross or []:
            cross.append(joined(*cross_block(block, size, with_sampler=False)))
            sampler.append(sampler_bound(block))
    logs = {"l_s": max(swin, default=0.0), "l_c": max(cross, default=0.0), "l_d": max(sampler, default=0.0)}
    logs["formula"] = depth * sum(logs.values())
    return {name: value / math.log(10) for name, value in logs.items()} | {"depth": float(depth)}


def _layers(network: CrossModalNet, patch_size: Triple) -> Iterator[tuple[DualLayer, Triple]]:
    """Iterate over the layers of encoder and decoder, with the size of their maps."""
    for levels in (network.encoder, network.decoder):
        for layers, size in zip(levels, map_sizes(network, patch_size), strict=False):
            for layer in layers.children():
                assert isinstance(layer, DualLayer)
                yield layer, size


def map_sizes(network: CrossModalNet, patch_size: Triple) -> list[Triple]:
    """Compute the tokens per axis at each level, finest first."""
    d, h, w = (n // s for n, s in zip(patch_size, token_stride(network), strict=True))
    return [(d >> level, h >> level, w >> level) for level in range(len(network.encoder))]


def token_stride(network: CrossModalNet) -> Triple:
    """Compute the voxels per token and axis: those of the embedding, times those of the stem before it."""
    first = network.embeddings[0]
    if isinstance(first, PatchEmbedding):
        return first.stride
    assert isinstance(first, ConvEmbedding)
    stem = network.stems[0] if len(network.stems) else None
    blocks = list(stem.blocks) if isinstance(stem, ConvStem) else []
    strides = [block_stride(block) for block in (*blocks, first.block)]
    d, h, w = (prod(axis) for axis in zip(*strides, strict=True))
    return d, h, w
