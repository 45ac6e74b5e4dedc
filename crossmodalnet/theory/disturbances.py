"""Disturbances of a pair of images (Corollary 2): what scanners and patients do to them, and the worst for a network.

Images are `(2, d, h, w)` in [0, 1] before; afterwards they may leave that range, for which networks are defined too.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from monai.transforms import GaussianSmooth, RandBiasField, RandGaussianNoise
from torch import Tensor, nn

from crossmodalnet.theory.sensitivity import pull_back
from crossmodalnet.training.objectives import cross_entropy

Disturbance = Callable[[Tensor, float, int], Tensor]

_MR = 1
_SHIFT = 3  # voxels that the patient has moved in some of the acquired lines
_STEP = 2.5  # of the ascent, over radius / steps: reaches the sphere and can turn there
_TINY = 1e-30


def noise(image: Tensor, std: float, seed: int) -> Tensor:
    """Add Gaussian noise to both images.

    Args:
        image: (2, d, h, w).
        std: standard deviation of the noise.
        seed: seed of the noise.
    """
    transform = RandGaussianNoise(prob=1.0, std=std, sample_std=False)
    transform.set_random_state(seed)
    return _plain(transform(image))


def bias_field(image: Tensor, strength: float, seed: int) -> Tensor:
    """Multiply the MR by a smooth field, the exponential of a polynomial of degree 3; CT has no such fault.

    Args:
        image: (2, d, h, w).
        strength: largest coefficient of the polynomial.
        seed: seed of the coefficients.
    """
    transform = RandBiasField(coeff_range=(-strength, strength), prob=1.0)
    transform.set_random_state(seed)
    out = image.clone()
    out[_MR] = _plain(transform(image[_MR : _MR + 1]))[0]
    return out


def blur(image: Tensor, sigma: float, seed: int) -> Tensor:
    """Smooth both images by a Gaussian of `sigma` voxels."""
    return _plain(GaussianSmooth(sigma)(image))


def motion(image: Tensor, share: float, seed: int) -> Tensor:
    """Let the patient move during the scan: lines of k-space along h come from the image three voxels further.

    The scanner shows the magnitude, so an image without such lines is as before.

    Args:
        image: (2, d, h, w), not negative.
        share: share of the lines that are replaced, 0 to 1; the same lines in both images.
        seed: seed of the choice of lines.
    """
    num_lines = image.shape[2]
    chosen = np.random.default_rng(seed).permutation(num_lines)[: round(share * num_lines)]
    k_space, moved = (torch.fft.fft(x, dim=2) for x in (image, torch.roll(image, _SHIFT, dims=2)))
    k_space[:, :, chosen] = moved[:, :, chosen]
    magnitude: Tensor = torch.fft.ifft(k_space, dim=2).abs()
    return magnitude


DISTURBANCES: Mapping[str, Disturbance] = MappingProxyType({
    "noise": noise,
    "bias field": bias_field,
    "blur": blur,
    "motion": motion,
})  # fmt: skip


def attack(network: nn.Module, image: Tensor, label: Tensor, *, radius: float, steps: int) -> Tensor:
    """Look for the change of l2 norm `radius` at most that makes the cross-entropy largest: projected ascent.

    Args:
        network: maps (1, 2, d, h, w) to logits (1, classes, d, h, w).
        image: (1, 2, d, h, w).
        label: class indices (1, d, h, w).
        radius: l2 norm over both images.
        steps: steps of gradient ascent from no change at all.

    Returns:
        the attacked image, shaped like `image`.
    """

    def loss(x: Tensor) -> Tensor:
        return cross_entropy(network(x).float(), label)

    change = torch.zeros_like(image)
    for _ in range(steps):
        gradient = pull_back(loss, image + change, torch.ones((), device=image.device))
        change = change + _STEP * radius / steps * gradient / gradient.norm().clamp_min(_TINY)
        change = change * (radius / change.norm().clamp_min(_TINY)).clamp_max(1)
    return image + change


def _plain(x: Tensor) -> Tensor:
    """Take off MONAI's metadata."""
    return torch.as_tensor(x).as_subclass(Tensor)
