"""How much the elementary parts of a network can stretch a change of their input: constants for Theorem 2.6.

All constants are for the Euclidean norm over a whole tensor, hold for every input, and are natural logarithms,
because their product over a network leaves the range of floating point numbers.
"""

import math

import numpy as np
import torch
from scipy.special import ndtr
from timm.layers import Mlp
from torch import Tensor, nn

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
    """A convolution with stride 1 and zero padding.

    It is a sum over the kernel's offsets of a shift, which stretches nothing, and a map of channels; or it is
    one map of patches, where each voxel lies in at most as many patches as there are offsets. Each gives a bound.
    """
    kernel = layer.weight.flatten(2)  # (out, in, offsets)
    num_offsets = kernel.shape[2]
    by_offset = sum(largest_singular_value(kernel[:, :, i]) for i in range(num_offsets))
    return log(min(by_offset, math.sqrt(num_offsets) * largest_singular_value(kernel.flatten(1))))


def normalisation(norm: nn.LayerNorm | nn.GroupNorm) -> float:
    """Layer, group or instance norm: the Jacobian is at most `max |gamma| / sqrt(variance + eps)`."""
    return log(float(norm.weight.detach().abs().max())) - math.log(norm.eps) / 2


def token_radius(norm: nn.LayerNorm) -> float:
    """Largest norm of a token after layer norm, `max |gamma| sqrt(c) + ||beta||`, whatever the input; no log."""
    shift = 0.0 if norm.bias is None else float(norm.bias.detach().norm())
    return float(norm.weight.detach().abs().max()) * math.sqrt(norm.normalized_shape[0]) + shift


def mlp(module: Mlp) -> float:
    """Two linear maps with GELU between them."""
    return linear(module.fc1) + log(GELU_SLOPE) + linear(module.fc2)
