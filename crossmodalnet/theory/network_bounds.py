"""Bound the Lipschitz constant of CrossModalNet (Theorem 2.6), and compute the paper's bound (Eq. 30).

Every feature map F has a constant alpha with `||dF|| <= alpha ||dx||` for the change dx of both images. Sums add
constants; concatenation takes the root of the sum of squares. A block of two arguments has one in each: `||d out|| <=
c_own ||d own|| + c_other ||d other||`. Norms make all hold for every input. Logarithms are natural unless decimal.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from math import prod

from torch import nn

from crossmodalnet.networks.common.sizes import Triple, effective_window
from crossmodalnet.networks.common.wrappers import PatchExpanding
from crossmodalnet.networks.crossmodalnet import embedding
from crossmodalnet.networks.crossmodalnet.blocks import CrossTransformerBlock, SwinBlock
from crossmodalnet.networks.crossmodalnet.config import Residual
from crossmodalnet.networks.crossmodalnet.convolution import ResidualConvBlock, UpConvolution
from crossmodalnet.networks.crossmodalnet.head import ConvHead, ConvStem, FusedHead
from crossmodalnet.networks.crossmodalnet.network import ConvSkip, CrossModalNet, DualLayer, SkipConnection
from crossmodalnet.theory.part_bounds import (
    GELU_SLOPE,
    added,
    cross_attention,
    deformable,
    joined,
    layer,
    log,
    sampled_radius,
    self_attention,
    token_radius,
)

Alphas = tuple[float, ...]


def one_input(module: nn.Module) -> float:
    """Bound a part with one input by its layers; rearranging tokens and adding positions has constant 1."""
    match module:
        case embedding.ConvEmbedding() | embedding.ConvMerging():
            return one_input(module.block)
        case embedding.PatchEmbedding():
            return layer(module.proj) + layer(module.norm)
        case embedding.PatchMerging():
            return layer(module.norm) + layer(module.reduce)
        case PatchExpanding():
            return layer(module.expand) + layer(module.norm)
    assert isinstance(module, ResidualConvBlock)
    act = layer(module.act)
    branch = layer(module.conv1) + layer(module.norm1) + act
    branch += layer(module.conv2) + layer(module.norm2)
    shortcut = layer(module.pool)
    if module.project is not None and module.project_norm is not None:
        shortcut += layer(module.project) + layer(module.project_norm)
    return added(branch, shortcut) + act


def up(module: nn.Module, coarse: float, *skips: float) -> float:
    """Carry the constants of the coarse map and of the skips up a level."""
    if isinstance(module, SkipConnection):
        return joined(one_input(module.expand) + coarse, *skips) + layer(module.fuse)
    convolutions = module.up if isinstance(module, ConvSkip) else module
    assert isinstance(convolutions, UpConvolution)
    return joined(layer(convolutions.expand) + coarse, *skips) + one_input(convolutions.block)


def stem_maps(stem: nn.Module) -> list[float]:
    """Bound the maps of a stem, finest first."""
    assert isinstance(stem, ConvStem)
    return list(accumulate(one_input(block) for block in stem.blocks))


def swin_block(block: nn.Module) -> float:
    """Bound Eq. 2: self-attention and MLP, each after its norm, and the residual sums."""
    assert isinstance(block, SwinBlock)
    attention = self_attention(block.attention, token_radius(block.norm1), prod(block.window))
    branch = layer(block.norm2) + layer(block.mlp)
    return residual(layer(block.norm1) + attention, -math.inf, branch, block.residual)[0]


def cross_block(block: nn.Module, size: Triple, *, with_sampler: bool = True) -> tuple[float, float]:
    """Bound Eq. 3 in the refined and the other stream, on maps of `size` tokens per axis."""
    assert isinstance(block, CrossTransformerBlock)
    radius = token_radius(block.norm_keys)
    keys = layer(block.norm_keys)
    if block.sampler is not None:
        keys += deformable(block.sampler, radius) if with_sampler else 0.0
        radius = sampled_radius(block.sampler, radius)
    num_tokens = prod(size if block.window is None else effective_window(size, block.window))
    in_a, in_b = cross_attention(block.attention, radius, token_radius(block.norm_queries), num_tokens)
    keys, queries = keys + in_a, layer(block.norm_queries) + in_b
    own, other = (keys, queries) if block.refines == "keys" else (queries, keys)
    return residual(own, other, layer(block.norm) + layer(block.mlp), block.residual)


def residual(own: float, other: float, branch: float, kind: Residual) -> tuple[float, float]:
    """Bound a block around attention in its own and the other stream; `branch` is `MLP(LN(.))`.

    paper: `branch(attended + f) + f`; standard: `x = attended + f; branch(x) + x`.
    """
    if kind == "paper":
        return added(0.0, branch + added(own, 0.0)), branch + other
    through = added(branch, 0.0)
    return through + added(own, 0.0), through + other


def head(module: nn.Module, streams: Sequence[float], finer: Sequence[Sequence[float]]) -> float:
    """Carry the constants of the streams, and of the stems' maps per resolution, to the logits."""
    x = joined(*streams)
    if isinstance(module, ConvHead):
        for expansion, maps in zip(reversed(list(module.ups)), reversed(list(finer)), strict=True):
            x = up(expansion, x, *maps)
        return x + layer(module.classify)
    assert isinstance(module, FusedHead)
    assert not finer
    x = x + layer(module.norm) + one_input(module.expand) + log(GELU_SLOPE)
    return x + layer(module.classify)


def cumulative_bounds(network: CrossModalNet, size: Triple) -> list[tuple[str, float]]:
    """List the parts in order of computation, with the decimal logarithm of the bound up to there.

    The last is L in `||F(x) - F(y)|| <= L ||x - y||`, F the logits; with a missing-image token, only where x and y lack
    the same images. `size`: tokens per axis at the finest level.
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


def level_sizes(network: CrossModalNet, size: Triple) -> list[Triple]:
    """Compute the tokens per axis at each level from those at the finest one."""
    d, h, w = size
    return [(d >> level, h >> level, w >> level) for level in range(len(network.encoder))]


def dual_layers(level: nn.Module) -> list[DualLayer]:
    """List the layers of a level."""
    return [module for module in level.children() if isinstance(module, DualLayer)]


def _through(level: nn.Module, streams: Alphas, size: Triple) -> Alphas:
    """Carry the constants of the streams through the layers of a level."""
    for dual in dual_layers(level):
        streams = tuple(
            alpha + sum(swin_block(block) for block in blocks.children())
            for alpha, blocks in zip(streams, dual.swin, strict=True)
        )
        if dual.cross is not None:
            constants = [cross_block(block, size) for block in dual.cross]
            pairs = zip(constants, streams, reversed(streams), strict=True)
            streams = tuple(added(own + a, other + b) for (own, other), a, b in pairs)
    return streams


def paper_bound(network: CrossModalNet, size: Triple) -> dict[str, float]:
    """Compute Eq. 30, `(L_S L_C L_D)^d`, with the largest constant of each kind of block, in decimal logarithms.

    L_C excludes the deformable operator; absent kinds count 0; `depth` is d, all encoder and decoder layers.
    """
    sizes = level_sizes(network, size)
    levels = [*zip(network.encoder, sizes, strict=True), *zip(network.decoder, sizes[:-1], strict=True)]
    layers = [(dual, level_size) for level, level_size in levels for dual in dual_layers(level)]
    swin, cross, sampler = [], [], []
    for dual, level_size in layers:
        swin += [swin_block(block) for blocks in dual.swin for block in blocks.children()]
        for block in dual.cross or []:
            assert isinstance(block, CrossTransformerBlock)
            cross.append(joined(*cross_block(block, level_size, with_sampler=False)))
            radius = token_radius(block.norm_keys)
            sampler.append(0.0 if block.sampler is None else deformable(block.sampler, radius))
    logs = {"l_s": max(swin, default=0.0), "l_c": max(cross, default=0.0), "l_d": max(sampler, default=0.0)}
    logs["formula"] = len(layers) * sum(logs.values())
    return {name: value / math.log(10) for name, value in logs.items()} | {"depth": float(len(layers))}
