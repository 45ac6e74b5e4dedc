"""An upper bound on the Lipschitz constant of CrossModalNet (Theorem 2.6), and the paper's (Eq. 30) beside it.

Every feature map F has a constant alpha with `||dF|| <= alpha ||dx||`, for the change dx of both images together.
It is carried from part to part; sums of branches add up, and maps side by side join as a root of squares.
A block of two arguments has a constant in each: `||d out|| <= c_own ||d own|| + c_other ||d other||`. The norms inside
the blocks make all constants hold for every input. Logarithms are natural but where they are called decimal.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import prod

from torch import nn

from crossmodalnet.networks.common.sizes import Triple, effective_window
from crossmodalnet.networks.crossmodalnet import embedding
from crossmodalnet.networks.crossmodalnet.blocks import CrossTransformerBlock, SwinBlock
from crossmodalnet.networks.crossmodalnet.config import Residual
from crossmodalnet.networks.crossmodalnet.convolution import ResidualConvBlock, UpConvolution
from crossmodalnet.networks.crossmodalnet.head import ConvHead, ConvStem, FusedHead
from crossmodalnet.networks.crossmodalnet.network import ConvSkip, CrossModalNet, DualLayer, SkipConnection
from crossmodalnet.theory import part_bounds as parts
from crossmodalnet.theory.part_bounds import added, convolution, joined, linear, log, normalisation

Alphas = tuple[float, ...]


def one_input(module: nn.Module) -> float:
    """Bound a part with one input by its layers; rearranging tokens and adding positions stretch nothing."""
    match module:
        case embedding.ConvEmbedding() | embedding.ConvMerging():
            return one_input(module.block)
        case embedding.PatchEmbedding():
            return linear(module.proj) + normalisation(module.norm)
        case embedding.PatchMerging():
            return normalisation(module.norm) + linear(module.reduce)
        case embedding.PatchExpanding():
            return linear(module.expand) + normalisation(module.norm)
    assert isinstance(module, ResidualConvBlock)
    act = parts.leaky_relu(module.act)
    branch = convolution(module.conv1) + normalisation(module.norm1) + act
    branch += convolution(module.conv2) + normalisation(module.norm2)
    shortcut = parts.average_pooling(module.conv1.stride)
    if module.project is not None and module.project_norm is not None:
        shortcut += convolution(module.project) + normalisation(module.project_norm)
    return added(branch, shortcut) + act


def up(module: nn.Module, coarse: float, *skips: float) -> float:
    """Carry constants up a level: that of the coarse map, and those of the maps it is concatenated with."""
    if isinstance(module, SkipConnection):
        return joined(one_input(module.expand) + coarse, *skips) + linear(module.fuse)
    convolutions = module.up if isinstance(module, ConvSkip) else module
    assert isinstance(convolutions, UpConvolution)
    expanded = parts.transposed_convolution(convolutions.expand) + coarse
    return joined(expanded, *skips) + one_input(convolutions.block)


def stem_maps(stem: nn.Module) -> list[float]:
    """Bound each of a stem's maps, finest first: each is computed from the one before."""
    assert isinstance(stem, ConvStem)
    return list(accumulate(one_input(block) for block in stem.blocks))


def swin_block(block: nn.Module) -> float:
    """Bound Eq. 2: self-attention and MLP, each after its norm, and the residual sums."""
    assert isinstance(block, SwinBlock)
    attention = parts.self_attention(block.attention, parts.token_radius(block.norm1), prod(block.window))
    branch = normalisation(block.norm2) + parts.mlp(block.mlp)
    return residual(normalisation(block.norm1) + attention, -math.inf, branch, block.residual)[0]


def cross_block(block: nn.Module, size: Triple, *, with_sampler: bool = True) -> tuple[float, float]:
    """Bound Eq. 3 in the refined stream and in the other one, on maps of `size` tokens per axis.

    Without the sampler, the deformable operator is left out, as if its constant were 1.
    """
    assert isinstance(block, CrossTransformerBlock)
    radius = parts.token_radius(block.norm_keys)
    keys = normalisation(block.norm_keys)
    if block.sampler is not None:
        keys += parts.deformable(block.sampler, radius) if with_sampler else 0.0
        radius = parts.sampled_radius(block.sampler, radius)
    num_tokens = prod(size if block.window is None else effective_window(size, block.window))
    radius_b = parts.token_radius(block.norm_queries)
    in_a, in_b = parts.cross_attention(block.attention, radius, radius_b, num_tokens)
    keys, queries = keys + in_a, normalisation(block.norm_queries) + in_b
    own, other = (keys, queries) if block.refines == "keys" else (queries, keys)
    return residual(own, other, normalisation(block.norm) + parts.mlp(block.mlp), block.residual)


def sampler_bound(block: nn.Module) -> float:
    """Bound Eq. 7 on the keys of a Cross Transformer block, 0 (the identity) without an operator."""
    assert isinstance(block, CrossTransformerBlock)
    if block.sampler is None:
        return 0.0
    return parts.deformable(block.sampler, parts.token_radius(block.norm_keys))


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


def head(module: nn.Module, streams: Sequence[float], finer: Sequence[Sequence[float]]) -> float:
    """Carry the constants of the streams, and per resolution those of the stems' maps, to the logits."""
    x = joined(*streams)
    if isinstance(module, ConvHead):
        for expansion, maps in zip(reversed(list(module.ups)), reversed(list(finer)), strict=True):
            x = up(expansion, x, *maps)
        return x + convolution(module.classify)
    assert isinstance(module, FusedHead)
    assert not finer
    x = x + normalisation(module.norm) + one_input(module.expand) + log(parts.GELU_SLOPE)
    return x + convolution(module.classify)


def cumulative_bounds(network: CrossModalNet, size: Triple) -> list[tuple[str, float]]:
    """Name each part in the order of the computation, with the decimal logarithm of the bound up to there.

    The last is of L with `||F(x) - F(y)|| <= L ||x - y||` for all images, F the logits. With a token for a missing
    image, it holds for all x and y with the same images: no constant bounds the change when one goes missing.

    Args:
        network: in evaluation mode.
        size: tokens per axis at the finest level.
    """
    pyramids = [stem_maps(stem) for stem in network.stems]
    finer: list[Alphas] = list(zip(*pyramids, strict=True))  # per resolution, finest first, of each stream
    bounds = [("stem", joined(*(alpha for maps in finer for alpha in maps)))] if finer else []
    images = finer[-1] if finer else (0.0,) * len(network.inputs)
    streams = tuple(image + one_input(m) for image, m in zip(images, network.embeddings, strict=True))
    bounds.append(("embedding", joined(*streams)))
    sizes = level_sizes(network, size)
    skips: list[Alphas] = []
    for level, layers in enumerate(network.encoder):
        if level:
            skips.append(streams)
            modules = network.mergings[level - 1].children()
            streams = tuple(alpha + one_input(m) for alpha, m in zip(streams, modules, strict=True))
        streams = _through(layers, streams, sizes[level])
        bounds.append((f"encoder {level + 1}", joined(*streams)))
    for level in reversed(range(len(skips))):
        inputs = zip(network.skips[level].children(), streams, skips[level], strict=True)
        streams = tuple(up(m, coarse, skip) for m, coarse, skip in inputs)
        streams = _through(network.decoder[level], streams, sizes[level])
        bounds.append((f"decoder {level + 1}", joined(*streams)))
    bounds.append(("head", head(network.head, streams, finer)))
    return [(name, value / math.log(10)) for name, value in bounds]


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


def paper_bound(network: CrossModalNet, size: Triple) -> dict[str, float]:
    """Compute Eq. 30, `(L_S L_C L_D)^d`, with the largest constant of each kind of block.

    Returns:
        decimal logarithms of L_S, L_C (Cross Transformer block without its operator, both streams together),
        L_D and of the formula, 0 for a kind that the network does not have; `depth` is d, the number of layers of
        encoder and decoder.
    """
    swin, cross, sampler, depth = [], [], [], 0
    for layer, layer_size in _layers(network, size):
        depth += 1
        swin += [swin_block(block) for blocks in layer.swin for block in blocks.children()]
        for block in layer.cross or []:
            cross.append(joined(*cross_block(block, layer_size, with_sampler=False)))
            sampler.append(sampler_bound(block))
    logs = {"l_s": max(swin, default=0.0), "l_c": max(cross, default=0.0), "l_d": max(sampler, default=0.0)}
    logs["formula"] = depth * sum(logs.values())
    return {name: value / math.log(10) for name, value in logs.items()} | {"depth": float(depth)}


def level_sizes(network: CrossModalNet, size: Triple) -> list[Triple]:
    """Compute the tokens per axis at each level from those at the finest one."""
    d, h, w = size
    return [(d >> level, h >> level, w >> level) for level in range(len(network.encoder))]


def _layers(network: CrossModalNet, size: Triple) -> Iterator[tuple[DualLayer, Triple]]:
    """Iterate over the layers of encoder and decoder, with the size of their maps."""
    for levels in (network.encoder, network.decoder):
        for layers, level_size in zip(levels, level_sizes(network, size), strict=False):
            for layer in layers.children():
                assert isinstance(layer, DualLayer)
                yield layer, level_size
