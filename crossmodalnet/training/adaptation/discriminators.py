"""Domain discriminators of feature maps and of vectors, their loss and their accuracy."""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

NEGATIVE_SLOPE = 0.2


class PatchDiscriminator(nn.Module):
    """One logit per patch of a feature map: `(b, c, d, h, w)` to `(b, 1, d', h', w')`.

    With stride 2, `(2, 48, 40, 40, 40)` becomes `(2, 32, 20, 20, 20)`, the same once more, then `(2, 1, 20, 20, 20)`.
    Kernels have spectral norm 1 (Miyato et al. 2018), which bounds the gradients of the features.
    """

    def __init__(self, channels: int, width: int = 32, num_layers: int = 2, stride: int = 1) -> None:
        """Build `num_layers` hidden layers of `width` channels, the first with `stride`."""
        super().__init__()
        layers: list[nn.Module] = []
        for layer in range(num_layers):
            inside, step = (channels, stride) if layer == 0 else (width, 1)
            convolution = nn.Conv3d(inside, width, kernel_size=3, stride=step, padding=1)
            layers += [spectral_norm(convolution), nn.LeakyReLU(NEGATIVE_SLOPE)]
        layers.append(spectral_norm(nn.Conv3d(width, 1, kernel_size=1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Compute the logits of "source", `(b, 1, d', h', w')`."""
        return cast(Tensor, self.layers(features))


class VectorDiscriminator(nn.Module):
    """One logit per row, by two hidden layers with spectral norm 1: `(n, dim)` to `(n,)`; n may be 0."""

    def __init__(self, dim: int, width: int = 64) -> None:
        super().__init__()
        sizes = (dim, width, width)
        layers: list[nn.Module] = []
        for inside, outside in pairwise(sizes):
            layers += [spectral_norm(nn.Linear(inside, outside)), nn.LeakyReLU(NEGATIVE_SLOPE)]
        layers.append(spectral_norm(nn.Linear(width, 1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, rows: Tensor) -> Tensor:
        """Compute the logits of "source", `(n,)`."""
        return cast(Tensor, self.layers(rows)).squeeze(1)


def domain_loss(
    source_logits: Tensor,
    target_logits: Tensor,
    source_weights: Tensor | None = None,
    target_weights: Tensor | None = None,
) -> Tensor:
    """Compute the binary cross-entropy of source (1) against target (0); each domain's weighted mean counts half.

    In single precision at least. Logits have any shape, weights the same; a side without logits adds 0.
    """
    source = _weighted_mean(functional.softplus(-_single(source_logits)), source_weights)
    target = _weighted_mean(functional.softplus(_single(target_logits)), target_weights)
    return (source + target) / 2


def domain_accuracy(source_logits: Tensor, target_logits: Tensor) -> Tensor:
    """Average both domains' shares of correct logits, detached; 1/2 is chance.

    A logit of 0 means target. A domain without logits does not count; NaN where both have none.
    """
    right = [(source_logits.detach() > 0).float(), (target_logits.detach() <= 0).float()]
    shares = [side.mean() for side in right if side.numel()]
    return torch.stack(shares).mean() if shares else right[0].new_tensor(torch.nan)


def _single(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    if not values.numel():
        return values.sum()
    if weights is None:
        return values.mean()
    total = weights.to(values).sum()
    # A domain whose weights are all 0 adds 0.
    return (values * weights.to(values)).sum() / total.clamp_min(torch.finfo(values.dtype).tiny)
