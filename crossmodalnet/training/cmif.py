"""Penalty on falling information flow between CT and MR (Def. 7, Theorem 2.7)."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import digamma
from torch import Tensor
from torch.nn import functional


def log_det_bias(dim: int, df: int) -> float:
    """Compute the bias of `log det` of a sample covariance of `dim` rows; `df` is the number of samples less one."""
    halves = (df - np.arange(dim)) / 2
    return float(np.sum(digamma(halves) - np.log(df / 2)))


# Shrinkage of every correlation matrix to the identity: bounds the information to about 3 nats per component.
SHRINKAGE = 1e-3
# Added to variances: features that vary less carry no information.
EPSILON = 1e-5
# Fewest degrees of freedom per dimension of the joint covariance.
MIN_DF_PER_DIM = 2


def cmif_penalty(
    features: Sequence[tuple[Tensor, Tensor]], *, seed: int, num_tokens: int = 256, components: int = 4
) -> Tensor:
    """Penalise violations of Theorem 2.7, in nats: `sum_l relu(-CMIF(l)) + relu(CMIF(l - 1) - CMIF(l))`.

    Averages over the batch. Positions and projections depend on `seed`, layer and shape only: processes share them.

    Args:
        features: CT and MR features of each layer, `(b, c, d, h, w)`, as `CrossModalNet.features` returns them.
        num_tokens: most positions per layer.
        components: most random directions per stream.

    Raises:
        ValueError: no layer, or one with too few tokens.
    """
    if not features:
        raise ValueError("features must have at least one layer, got none")
    information = torch.stack(
        [
            layer_information(a, b, seed=seed + layer, num_tokens=num_tokens, components=components)
            for layer, (a, b) in enumerate(features)
        ]
    )  # (layers, b)
    flow = information.diff(dim=0)
    penalties = functional.relu(-flow).sum(0) + functional.relu(-flow.diff(dim=0)).sum(0)
    return penalties.mean()


def layer_information(a: Tensor, b: Tensor, *, seed: int, num_tokens: int, components: int) -> Tensor:
    """Estimate the mutual information of two feature maps `(b, c, d, h, w)` in each sample: `(b,)`, nats.

    Projecting tokens at shared positions to random directions gives a lower bound (data processing inequality).
    """
    generator = torch.Generator().manual_seed(seed)
    size = a[0, 0].numel()
    places = torch.randperm(size, generator=generator)[:num_tokens].to(a.device)
    kept = min(components, (len(places) - 2) // (2 * MIN_DF_PER_DIM))
    if kept < 1:
        raise ValueError(f"features must have at least {2 * MIN_DF_PER_DIM + 2} tokens per map, got {size}")
    with torch.autocast(a.device.type, enabled=False):
        x, y = (_projected(stream, places, kept, generator) for stream in (a, b))
        return gaussian_information(x, y)


def gaussian_information(x: Tensor, y: Tensor) -> Tensor:
    """Estimate the mutual information of Gaussian samples `(b, n, p)` and `(b, n, q)` without bias: `(b,)`, nats.

    Needs n - 1 >= p + q. Uses shrinkage, where the audit's function of this name uses a ridge, to bound the gradients.
    """
    df, p, q = x.shape[1] - 1, x.shape[2], y.shape[2]
    both = torch.cat([_standardised(x), _standardised(y)], dim=2)
    identity = torch.eye(p + q, dtype=x.dtype, device=x.device)
    correlation = (1 - SHRINKAGE) * (both.mT @ both) / df + SHRINKAGE * identity
    parts = (correlation[:, :p, :p], correlation[:, p:, p:], correlation)
    own_x, own_y, joint = (_log_det(part) for part in parts)
    bias = log_det_bias(p, df) + log_det_bias(q, df) - log_det_bias(p + q, df)
    return (own_x + own_y - joint - bias) / 2


def _projected(features: Tensor, places: Tensor, components: int, generator: torch.Generator) -> Tensor:
    """Project the tokens `(b, n, c)` at `places` onto random orthonormal directions, `(b, n, p)`."""
    dtype = torch.promote_types(features.dtype, torch.float32)
    tokens = features.flatten(2).index_select(2, places).mT.to(dtype)
    channels = tokens.shape[2]
    # In double precision on the CPU: the same directions on every device.
    directions = torch.randn(channels, min(components, channels), dtype=torch.float64, generator=generator)
    orthonormal: Tensor = torch.linalg.qr(directions)[0]
    return tokens @ orthonormal.to(tokens)


def _standardised(x: Tensor) -> Tensor:
    centred = x - x.mean(dim=1, keepdim=True)
    variance = centred.square().sum(dim=1, keepdim=True) / (x.shape[1] - 1)
    return centred * (variance + EPSILON).rsqrt()


def _log_det(matrix: Tensor) -> Tensor:
    """Compute the log-determinant of positive definite `(b, m, m)`; NaN stays NaN and raises no error."""
    factor = torch.linalg.cholesky_ex(matrix)[0]
    return 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
