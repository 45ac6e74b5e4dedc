"""An upper bound on the Lipschitz constant of CrossModalNet (Theorem 2.6), and the paper's (Eq. 30) beside it.

Every feature map F has a constant alpha with `||dF|| <= alpha ||dx||`, for the change dx of both images together.
It is carried from part to part; sums of branches add up, and maps side by side join as a root of squares.
"""

import math
from collections.abc import Iterator
from math import prod

from torch import nn

from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.embedding import ConvEmbedding, PatchEmbedding
from crossmodalnet.networks.crossmodalnet.head import ConvStem
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet, DualLayer
from crossmodalnet.theory.bound_blocks import (
    cross_block,
    embedding,
    head,
    merging,
    sampler_bound,
    skip_connection,
    swin_block,
)
from crossmodalnet.theory.bound_convolution import block_stride, conv_stem
from crossmodalnet.theory.lipschitz_bounds import added, joined

Alphas = tuple[float, ...]


def upper_bound(network: CrossModalNet, patch_size: Triple) -> float:
    """Decimal logarithm of a constant L with `||F(x) - F(y)|| <= L ||x - y||` for all images, F the logits.

    With a token for a missing image, for all x and y that have the same images: no constant bounds what changes
    where one goes missing.

    Args:
        network: network in evaluation mode.
        patch_size: voxels per axis of the images.
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
            modules = children(network.mergings[level - 1])
            streams = tuple(alpha + merging(m) for alpha, m in zip(streams, modules, strict=True))
        streams = _through(layers, streams, sizes[level])
        parts.append((f"encoder {level + 1}", joined(*streams)))
    for level in reversed(range(len(skips))):
        joins = zip(children(network.skips[level]), streams, skips[level], strict=True)
        streams = tuple(skip_connection(m, coarse, skip) for m, coarse, skip in joins)
        streams = _through(network.decoder[level], streams, sizes[level])
        parts.append((f"decoder {level + 1}", joined(*streams)))
    parts.append(("head", head(network.head, streams, finer)))
    return [(name, value / math.log(10)) for name, value in parts]


def paper_bound(network: CrossModalNet, patch_size: Triple) -> dict[str, float]:
    """Eq. 30, `(L_S L_C L_D)^d`, with the largest constant of each kind of block.

    Returns:
        decimal logarithms of L_S, L_C (Cross Transformer block without its operator, both streams together),
        L_D and of the formula, 0 for a kind that the network does not have; `depth` is d, the number of layers of
        encoder and decoder.
    """
    swin, cross, sampler, depth = [], [], [], 0
    for layer, size in _layers(network, patch_size):
        depth += 1
        swin += [swin_block(block) for pair in layer.swin for block in children(pair)]
        for block in layer.cross or []:
            cross.append(joined(*cross_block(block, size, with_sampler=False)))
            sampler.append(sampler_bound(block))
    logs = {"l_s": max(swin, default=0.0), "l_c": max(cross, default=0.0), "l_d": max(sampler, default=0.0)}
    logs["formula"] = depth * sum(logs.values())
    return {name: value / math.log(10) for name, value in logs.items()} | {"depth": float(depth)}


def map_sizes(network: CrossModalNet, patch_size: Triple) -> list[Triple]:
    """Tokens per axis at each level, finest first."""
    d, h, w = (n // s for n, s in zip(patch_size, token_stride(network), strict=True))
    return [(d >> level, h >> level, w >> level) for level in range(len(network.encoder))]


def token_stride(network: CrossModalNet) -> Triple:
    """Voxels per token and axis: those of the embedding, times those of the stem before it."""
    first = network.embeddings[0]
    if isinstance(first, PatchEmbedding):
        return first.stride
    assert isinstance(first, ConvEmbedding)
    stem = network.stems[0] if len(network.stems) else None
    blocks = list(stem.blocks) if isinstance(stem, ConvStem) else []
    strides = [block_stride(block) for block in (*blocks, first.block)]
    d, h, w = (prod(axis) for axis in zip(*strides, strict=True))
    return d, h, w


def children(modules: nn.Module) -> Iterator[nn.Module]:
    """Go through a list of modules or a sequence of blocks, in their order."""
    return modules.children()


def _layers(network: CrossModalNet, patch_size: Triple) -> Iterator[tuple[DualLayer, Triple]]:
    """Go through the layers of encoder and decoder, with the size of their maps."""
    for levels in (network.encoder, network.decoder):
        for layers, size in zip(levels, map_sizes(network, patch_size), strict=False):
            for layer in children(layers):
                assert isinstance(layer, DualLayer)
                yield layer, size


def _through(layers: nn.Module, streams: Alphas, size: Triple) -> Alphas:
    """Carry the constants of the streams through the layers of a level."""
    for layer in children(layers):
        assert isinstance(layer, DualLayer)
        refined = [
            alpha + sum(swin_block(block) for block in children(blocks))
            for alpha, blocks in zip(streams, layer.swin, strict=True)
        ]
        streams = tuple(refined)
        if layer.cross is not None:
            constants = [cross_block(block, size) for block in layer.cross]
            crossings = zip(constants, refined, reversed(refined), strict=True)
            streams = tuple(added(own + a, other + b) for (own, other), a, b in crossings)
    return streams
