"""Sample tokens of CT and MR at the same positions in every layer, reduced to principal components."""

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.config import BuildConfig
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet
from crossmodalnet.theory.config import AuditConfig

Tokens = NDArray[np.float64]
# Tokens of CT `(num_cases, n, p)` and of MR `(num_cases, n, q)` from the same random positions, by name of the layer.
LayerTokens = dict[str, tuple[Tokens, Tokens]]


def layer_names(config: BuildConfig) -> tuple[str, ...]:
    """List the outputs of `CrossModalNet.features`: `image`, `embedding`, `encoder 1` or `1.2`, ..."""
    levels = range(config.num_levels)
    names = ["image", "embedding"]
    for part, order in (("encoder", levels), ("decoder", levels[-2::-1] if len(levels) > 1 else ())):
        for level in order:
            # A level without layers has the output of what leads to it; the first has the embedding already.
            depth = config.depths[level] or int(part == "decoder" or level > 0)
            names += [f"{part} {level + 1}{f'.{n + 1}' if depth > 1 else ''}" for n in range(depth)]
    return tuple(names)


def shuffled_pairs(images: Tensor) -> Tensor:
    """Pair each CT with the MR of the next case, `(n, 2, d, h, w)`."""
    return torch.stack([images[:, 0], images[:, 1].roll(-1, 0)], dim=1)


def sample_tokens(network: nn.Module, network_config: BuildConfig, images: Tensor, config: AuditConfig) -> LayerTokens:
    """Draw tokens of all layers for cases `(n, 2, d, h, w)` and reduce them to principal components.

    Layer `image` holds the patches. Positions depend on seed, case and map size only: layers and networks share them.
    """
    assert isinstance(network, CrossModalNet)
    stride = network_config.patch_embedding
    cases = [
        _case_tokens(network, stride, image[None], config.tokens_per_case, [config.seed, case])
        for case, image in enumerate(images)
    ]
    layers: LayerTokens = {}
    for name, *pairs in zip(layer_names(network_config), *cases, strict=True):
        ct, mr = (np.stack(stream) for stream in zip(*pairs, strict=True))
        layers[name] = (principal_components(ct, config.components), principal_components(mr, config.components))
    return layers


def principal_components(tokens: Tokens, components: int) -> Tokens:
    """Reduce `(num_cases, n, c)` to `(num_cases, n, p)`, 1 <= p <= `components`, by PCA over all cases."""
    centred = pooled(tokens) - pooled(tokens).mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred)  # ascending
    varying = int(np.sum(variances > 1e-10 * variances[-1]))
    kept = max(1, min(components, varying))
    return (centred @ directions[:, : -kept - 1 : -1]).reshape(*tokens.shape[:-1], kept)


def pooled(tokens: Tokens) -> Tokens:
    """Stack the tokens of all cases `(num_cases, n, p)` to `(num_cases * n, p)`."""
    return tokens.reshape(-1, tokens.shape[-1])


def _case_tokens(
    network: CrossModalNet, stride: Triple, image: Tensor, tokens_per_case: int, seed: Sequence[int]
) -> list[tuple[Tokens, Tokens]]:
    """Draw tokens `(n, c)` of both streams of one case `(1, 2, d, h, w)`, layer by layer."""
    sd, sh, sw = stride
    with torch.inference_mode():
        ct, mr = rearrange(image, "b s (d sd) (h sh) (w sw) -> s b (sd sh sw) d h w", sd=sd, sh=sh, sw=sw)
        return [_draw(a, b, tokens_per_case, seed) for a, b in [(ct, mr), *network.features(image)]]


def _draw(a: Tensor, b: Tensor, num_tokens: int, seed: Sequence[int]) -> tuple[Tokens, Tokens]:
    """Draw tokens of two maps `(1, c, d, h, w)` at the same positions."""
    size = a.shape[2:]
    generator = np.random.default_rng([*seed, *size])
    index = torch.as_tensor(generator.permutation(size.numel())[:num_tokens], device=a.device)
    ct, mr = (f[0].flatten(1).index_select(1, index).T.cpu().double().numpy() for f in (a, b))
    return ct, mr
