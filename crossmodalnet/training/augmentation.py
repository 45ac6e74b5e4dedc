"""Augment a CT-MR pair and its label map; no flips, since a mirrored heart is a different anatomy (situs inversus)."""

import math
from typing import Any

import numpy as np
import torch
from monai.transforms import (
    RandAdjustContrast,
    RandAffineGrid,
    RandBiasField,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandScaleIntensity,
    RandShiftIntensity,
    Resample,
)
from monai.transforms.utils import create_grid
from numpy.typing import NDArray
from torch import Tensor

from crossmodalnet.imaging.samples import CT, MR, Misregistration, centre_crop, origins
from crossmodalnet.training.config import AugmentationConfig

# Ranges of nnU-Net's intensity augmentation, adapted to images from 0 to 1.
GAMMA = (0.7, 1.5)
CONTRAST = 0.15
BRIGHTNESS = 0.1
NOISE = 0.05
SMOOTHING_VOXELS = 0.8
# Largest coefficient of the MR's log bias field; CT has none.
BIAS_FIELD = 0.15


class Augmenter:
    """Random augmentation of samples; use one per thread, since MONAI's transforms hold their random state."""

    def __init__(self, config: AugmentationConfig) -> None:
        self.config = config
        angle = math.radians(config.rotation_degrees)
        self._affine = RandAffineGrid(
            rotate_range=[(-angle, angle)] * 3,
            translate_range=[(-config.shift_voxels, config.shift_voxels)] * 3,
            scale_range=[(-config.scale, config.scale)] * 3,
            dtype=torch.float32,
        )
        self._resample = Resample(padding_mode="border", dtype=torch.float32)
        probability = config.intensity_probability
        self._intensity = [_intensity_transforms(probability, bias=channel == MR) for channel in (CT, MR)]

    def __call__(
        self,
        image: Tensor,
        label: Tensor,
        size: tuple[int, int, int],
        random: np.random.RandomState,
        displacement: Misregistration | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Augment a sample and crop its centre to `size`; the inputs stay unchanged.

        Args:
            image: CT and MR in [0, 1], `(2, d, h, w)`.
            label: class indices `(d, h, w)`.
            displacement: misregistration of the MR about the centre; the MR is still interpolated only once.
        """
        grid = self._draw_grid(size, random)
        if displacement is None:
            image = self._move(image, grid, size)
        else:
            moved = _displaced(grid, size, displacement)
            image = torch.cat([self._move(image[:MR], grid, size), self._move(image[MR:], moved, size)])
        if grid is None:
            label = centre_crop(label, size)
        else:
            warped = _plain(self._resample(label[None].float(), grid, mode="nearest"))
            label = warped[0].round().to(label.dtype)
        channels = [self._change_intensity(c, image[c : c + 1], random) for c in range(len(image))]
        return torch.cat(channels), label

    def _move(self, image: Tensor, grid: Any, size: tuple[int, int, int]) -> Tensor:
        """Sample an image at the grid; without a grid, cut its centre."""
        if grid is None:
            return centre_crop(image, size)
        return _plain(self._resample(image, grid, mode="bilinear"))

    def _draw_grid(self, size: tuple[int, int, int], random: np.random.RandomState) -> Any:
        """Draw the sampling grid, `(4, *size)` voxels from the centre; None for no spatial change."""
        config = self.config
        affine, elastic = random.uniform(size=2) < (config.affine_probability, config.elastic_probability)
        if not (affine or elastic):
            return None
        grid = _still(size)
        if elastic:
            shifts = free_form_shifts(size, config.elastic_spacing_voxels, config.elastic_voxels, random)
            grid[:3] += torch.from_numpy(shifts)
        if affine:
            self._affine.set_random_state(state=random)
            grid = self._affine(grid=grid)
        return grid

    def _change_intensity(self, channel: int, image: Tensor, random: np.random.RandomState) -> Tensor:
        result: Any = image
        for transform in self._intensity[channel]:
            transform.set_random_state(state=random)
            result = transform(result)
        return _plain(result)


def _still(size: tuple[int, int, int]) -> Any:
    """Create the identity grid: homogeneous coordinates `(4, *size)`, voxels from the centre."""
    return create_grid(size, dtype=torch.float32, backend="torch")


def _displaced(grid: Any, size: tuple[int, int, int], displacement: Misregistration) -> Tensor:
    """Apply the misregistration to the sampling grid: `(3, *size)`."""
    points = _plain(_still(size) if grid is None else grid)[:3]
    return origins(points.movedim(0, -1), displacement).movedim(-1, 0)


def free_form_shifts(
    size: tuple[int, int, int], spacing: float, magnitude: float, random: np.random.RandomState
) -> NDArray[np.float32]:
    """Draw a cubic B-spline displacement `(3, *size)` over random control points (Rueckert 1999); all in voxels.

    No displacement exceeds `magnitude` per axis; `spacing` is that of the control points.
    """
    bases = [_cubic_basis(length, spacing) for length in size]
    points = random.uniform(-magnitude, magnitude, (3, *(basis.shape[1] for basis in bases)))
    i, j, k = bases
    field = np.einsum("nabc,kc->nabk", points, k, optimize=True)
    field = np.einsum("nabk,jb->najk", field, j, optimize=True)
    field = np.einsum("najk,ia->nijk", field, i, optimize=True)
    return np.asarray(field, np.float32)


def _cubic_basis(length: int, spacing: float) -> NDArray[np.float64]:
    """Compute the weights of the control points at each voxel, `(length, points)`; rows sum to 1."""
    num_points = math.floor((length - 1) / spacing) + 4
    away = np.abs(np.arange(length)[:, None] / spacing + 1 - np.arange(num_points))
    near = 2 / 3 - away**2 + away**3 / 2
    far = np.clip(2 - away, 0, None) ** 3 / 6
    return np.where(away < 1, near, far)


def _intensity_transforms(probability: float, *, bias: bool) -> list[Any]:
    blur = (0.0, SMOOTHING_VOXELS)
    transforms: list[Any] = [
        RandAdjustContrast(prob=probability, gamma=GAMMA),
        RandScaleIntensity(prob=probability, factors=CONTRAST),
        RandShiftIntensity(prob=probability, offsets=BRIGHTNESS),
        RandGaussianSmooth(prob=probability, sigma_x=blur, sigma_y=blur, sigma_z=blur),
        RandGaussianNoise(prob=probability, std=NOISE),
    ]
    if bias:
        field = RandBiasField(prob=probability, degree=2, coeff_range=(-BIAS_FIELD, BIAS_FIELD))
        transforms.insert(0, field)
    return transforms


def _plain(tensor: Any) -> Tensor:
    """Drop the metadata that MONAI attaches."""
    return tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor
