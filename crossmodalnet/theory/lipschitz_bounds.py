"""How much the elementary parts of a network can stretch a change of their input: constants for Theorem 2.6.

All constants are for the Euclidean norm over a whole tensor, hold for every input, and are natural logarithms,
because their product over a network leaves the range of floating point numbers.
"""

import math
from itertools import product
from math import prod

import numpy as np
import torch
from scipy.special import ndtr
from timm.layers import Mlp
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple

# Logarithms of parts that pass nothing on stay finite: a larger constant is a bound too.
_SMALLEST = 1e-300
# The slope of GELU is ndtr(x) + x pdf(x); its derivative (2 - x^2) pdf(x) is zero at the square root of 2.
GELU_SLOPE = float(ndtr(math.sqrt(2))) + math.sqrt(2) * math.exp(-1) / math.sqrt(2 * math.pi)


def log(value: float) -> float:
    """Natural logarithm, that of 1e-300 for anything smaller."""
    return math.log(max(value, _SMALLEST))


def added(*logs: float) -> float:
    """Logarithm of a sum: constants of branches that are added, or arguments that change together."""
    return float(np.logaddexp.reduce(logs))


def joined(*logs: float) -> float:
    """Logarithm of a root of a sum of squares: the constant of outputs side by side in one tensor."""
    return float(np.logaddexp.reduce([2 * value for value in logs])) / 2


def largest_singular_value(matrix: Tensor) -> float:
    """Spectral norm of a matrix, in double precision."""
    return float(torch.linalg.matrix_norm(matrix.detach().double().cpu(), 2))


def linear(layer: nn.Linear) -> float:
    """A linear map of each token: its largest singular value."""
    return log(largest_singular_value(layer.weight))


def convolution(layer: nn.Conv3d) -> float:
    """A convolution with zero padding and any stride.

    It is a sum over the kernel's offsets, each of which picks voxels, every one once at most, and maps their
    channels. Offsets that differ modulo the stride pick different voxels, so that the constants of those that do not
    are added, and the sums joined. Or it is one map of patches: a voxel lies in at most as many patches as there are
    offsets that are equal to its own modulo the stride, and counts as much less in each. Either is a bound.
    """
    kernel = layer.weight.flatten(2)  # (out, in, offsets)
    remainders = [
        tuple(k % s for k, s in zip(offset, layer.stride, strict=True))
        for offset in product(*map(range, layer.kernel_size))
    ]
    sums = dict.fromkeys(remainders, 0.0)
    for i, remainder in enumerate(remainders):
        sums[remainder] += largest_singular_value(kernel[:, :, i])
    times = torch.tensor([remainders.count(remainder) for remainder in remainders], device=kernel.device)
    by_patch = largest_singular_value((kernel * times.sqrt()).flatten(1))
    return log(min(math.hypot(*sums.values()), by_patch))


def transposed_convolution(layer: nn.ConvTranspose3d) -> float:
    """A transposed convolution whose stride is its kernel: each voxel becomes a block of its own, by one map."""
    assert layer.stride == layer.kernel_size
    return log(largest_singular_value(layer.weight.flatten(1)))  # (in, out * offsets)


def average_pooling(stride: Triple) -> float:
    """Means of blocks of n voxels, which share none: at most `1 / sqrt(n)`."""
    return -math.log(prod(stride)) / 2


def normalisation(norm: nn.LayerNorm | nn.GroupNorm | nn.InstanceNorm3d) -> float:
    """Layer, group or instance norm: the Jacobian is at most `max |gamma| / sqrt(variance + eps)`.

    What changes mean or variance is projected out of it, which stretches nothing.
    """
    assert norm.weight is not None
    return log(float(norm.weight.detach().abs().max())) - math.log(norm.eps) / 2


def token_radius(norm: nn.LayerNorm) -> float:
    """Largest norm of a token after layer norm, `max |gamma| sqrt(c) + ||beta||`, whatever the input; no log."""
    shift = 0.0 if norm.bias is None else float(norm.bias.detach().norm())
    return float(norm.weight.detach().abs().max()) * math.sqrt(norm.normalized_shape[0]) + shift


def mlp(module: Mlp) -> float:
    """Two linear maps with GELU between them."""
    return linear(module.fc1) + log(GELU_SLOPE) + linear(module.fc2)
