"""Tokens of CT and MR at every layer of a network, drawn at the same positions and reduced to few components."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet

Tokens = NDArray[np.float64]


@dataclass(frozen=True)
class LayerTokens:
    """Tokens of both streams after one layer, row by row from the same places.

    Attributes:
        name: name of the layer, for readers.
        ct: `(num_cases, n, p)`, in random order.
        mr: `(num_cases, n, q)`, in the same.
    """

    name: str
    ct: Tokens
    mr: Tokens


def layer_names(config: CrossModalNetConfig) -> tuple[str, ...]:
    """Name the images and all that `CrossModalNet.features` gives: `image`, `embedding`, `encoder 1`, ...

    Levels count from 1, the finest; where a level has several layers, the second is `encoder 1.2`.
    """
    levels = range(config.num_levels)
    names = ["image", "embedding"]
    for part, order in (("encoder", levels), ("decoder", levels[-2::-1] if len(levels) > 1 else ())):
        for level in order:
            depth = config.depths[level]
            names += [f"{part} {level + 1}{f'.{n + 1}' if depth > 1 else ''}" for n in range(depth)]
    return tuple(names)


def shuffled_pairs(images: Tensor) -> Tensor:
    """Put with each CT the MR of the next case, `(n, 2, d, h, w)`: pairs that nobody registered."""
    return torch.stack([images[:, 0], images[:, 1].roll(-1, 0)], dim=1)


def sample_tokens(
    network: CrossModalNet,
    config: CrossModalNetConfig,
    images: Tensor,
    *,
    components: int,
    tokens_per_case: int,
    seed: int,
) -> list[LayerTokens]:
    """Draw tokens of all layers and reduce them to their first principal components.

    The components of a layer and stream are those of the tokens of all cases here. Positions depend on seed,
    case and size of the map, so that layers of one size, and the same cases in another network, share them.

    Args:
        network: network on the device of `images`.
        config: options of the network.
        images: `(num_cases, 2, d, h, w)`.
        components: number of components that are kept, at most.
        tokens_per_case: number of positions that are drawn, at most, without replacement.
        seed: seed of the positions.

    Returns:
        Tokens of each layer of `layer_names`; layer 0 holds the images, cut into the blocks that become tokens.
    """
    cases = [
        _case_tokens(network, config.patch_embedding, image[None], tokens_per_case, [seed, case])
        for case, image in enumerate(images)
    ]
    layers = []
    for name, *pairs in zip(layer_names(config), *cases, strict=True):
        ct, mr = (principal_components(np.stack(stream), components) for stream in zip(*pairs, strict=True))
        layers.append(LayerTokens(name, ct, mr))
    return layers


def principal_components(tokens: Tokens, components: int) -> Tokens:
    """Reduce `(num_cases, n, c)` to `(num_cases, n, p)`, the principal components of all cases together.

    Args:
        tokens: tokens of one layer and stream.
        components: p, less where so many directions do not vary; at least 1.
    """
    centred = pooled(tokens) - pooled(tokens).mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred)  # ascending
    varying = int(np.sum(variances > 1e-10 * variances[-1]))
    kept = max(1, min(components, varying))
    reduced: Tokens = (centred @ directions[:, : -kept - 1 : -1]).reshape(*tokens.shape[:-1], kept)
    return reduced


def pooled(tokens: Tokens) -> Tokens:
    """Put the tokens of all cases `(num_cases, n, p)` below each other, `(num_cases * n, p)`."""
    return tokens.reshape(-1, tokens.shape[-1])


def _case_tokens(
    network: CrossModalNet, stride: Triple, image: Tensor, tokens_per_case: int, seed: Sequence[int]
) -> list[tuple[Tokens, Tokens]]:
    """Tokens `(n, c)` of both streams of one case `(1, 2, d, h, w)`, layer by layer."""
    with torch.inference_mode():
        maps = [_blocks(image, stride), *network.features(image)]
        return [_drawn(a, b, tokens_per_case, seed) for a, b in maps]


def _blocks(image: Tensor, stride: Triple) -> tuple[Tensor, Tensor]:
    """Cut both images into blocks, `(1, voxels of a block, d, h, w)` each."""
    sd, sh, sw = stride
    blocks = rearrange(image, "b s (d sd) (h sh) (w sw) -> s b (sd sh sw) d h w", sd=sd, sh=sh, sw=sw)
    return blocks[0], blocks[1]


def _drawn(a: Tensor, b: Tensor, num_tokens: int, seed: Sequence[int]) -> tuple[Tokens, Tokens]:
    """Draw tokens of two maps `(1, c, d, h, w)` at the same positions."""
    size = a.shape[2:]
    generator = np.random.default_rng([*seed, *size])
    count = size.numel()
    index = torch.as_tensor(generator.permutation(count)[:num_tokens], device=a.device)
    ct, mr = (f[0].flatten(1).index_select(1, index).T.cpu().double().numpy() for f in (a, b))
    return ct, mr
