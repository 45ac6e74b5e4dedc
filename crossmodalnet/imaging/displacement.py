"""Rigid displacements of one image of a pair: what registration left over, or got wrong."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Displacement:
    """A rotation about the centre of the image, then a shift; both along d, h, w.

    Attributes:
        shift_voxels: shift of the content, voxels of an isotropic grid.
        rotation_degrees: axis times angle, degrees.
    """

    shift_voxels: Vector
    rotation_degrees: Vector


def draw_displacement(
    shift_voxels: float, rotation_degrees: float, random: np.random.RandomState
) -> Displacement:
    """Draw directions uniformly; the lengths are the arguments' own, so that a caller decides whether they vary.

    Args:
        shift_voxels: length of the shift, voxels.
        rotation_degrees: angle of the rotation, degrees.
        random: source of the draw.
    """
    shift, axis = (_direction(random) for _ in range(2))
    return Displacement(_vector(shift * shift_voxels), _vector(axis * rotation_degrees))


def origins(points: Tensor, displacement: Displacement) -> Tensor:
    """Find where the content at `points` comes from: the inverse of the displacement, `R^T (x - shift)`.

    Args:
        points: (..., 3), voxels along d, h, w from the centre of the image.
        displacement: shift and rotation.

    Returns:
        the same shape.
    """
    rotation = Rotation.from_rotvec(displacement.rotation_degrees, degrees=True).as_matrix()
    return (points - points.new_tensor(displacement.shift_voxels)) @ points.new_tensor(rotation)


def displace(image: Tensor, displacement: Displacement) -> Tensor:
    """Move the content of an image by trilinear interpolation; what comes in from outside repeats the border.

    Args:
        image: (c, d, h, w), on a grid of isotropic voxels.
        displacement: shift and rotation.

    Returns:
        the same shape.
    """
    size = image.shape[1:]
    axes = (torch.arange(n, dtype=image.dtype, device=image.device) - (n - 1) / 2 for n in size)
    here = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)  # (d, h, w, 3), about the centre
    half = image.new_tensor([n / 2 for n in size])
    grid = (origins(here, displacement) / half).flip(
        -1
    )  # grid_sample counts w, h, d, from -1 to 1 over the faces of the image
    moved: Tensor = functional.grid_sample(
        image[None], grid[None], padding_mode="border", align_corners=False
    )
    return moved[0]


def _direction(random: np.random.RandomState) -> NDArray[np.float64]:
    vector = random.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector), np.float64)


def _vector(values: NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
