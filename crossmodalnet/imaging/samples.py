"""Define network cases and batches; crop, pad, drop modalities, misregister."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

# Value of the channel of a missing image; others lie in [0, 1].
MISSING = -1.0
CT, MR = 0, 1
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class LabelledCase:
    """A pair of images, or one image alone (`single`, in both channels), with its labels.

    Attributes:
        image: CT and MR in [0, 1], `(2, d, h, w)`.
        label: class indices of the CT, or of the image alone, uint8, `(d, h, w)`.
        mr_label: class indices of an MR that shows another heart, like `label`; else None.

    >>> case = LabelledCase("one", torch.rand(2, 16, 16, 16), torch.zeros(16, 16, 16, dtype=torch.uint8))
    """

    name: str
    image: Tensor
    label: Tensor
    mr_label: Tensor | None = None
    single: bool = False


@dataclass(frozen=True)
class Batch:
    """Samples of one step: `image (b, 2, d, h, w)`, `label (b, d, h, w)` int64, and their cases' names."""

    names: tuple[str, ...]
    image: Tensor
    label: Tensor


@dataclass(frozen=True)
class Misregistration:
    """A rotation about the image centre (axis times angle, degrees), then a shift (voxels); d, h, w."""

    shift_voxels: Vector
    rotation_degrees: Vector

    def matrix(self) -> NDArray[np.float64]:
        """Return rotation and shift as `(3, 4)`: it maps places before the misregistration to those after it."""
        rotation = Rotation.from_rotvec(self.rotation_degrees, degrees=True).as_matrix()
        return np.column_stack([rotation, self.shift_voxels])


def centre_crop(volume: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Crop the last three axes to their centre."""
    for axis, length in zip((-3, -2, -1), size, strict=True):
        volume = volume.narrow(axis, (volume.shape[axis] - length) // 2, length)
    return volume


def pad_to(volume: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Pad `(c, d, h, w)` to at least `size` by repeating the border, as inference does."""
    widths: list[int] = []
    for length, wanted in zip(reversed(volume.shape[-3:]), reversed(size), strict=True):
        missing = max(0, wanted - length)
        widths += [missing // 2, missing - missing // 2]
    return functional.pad(volume[None], widths, mode="replicate")[0] if any(widths) else volume


def without(image: Tensor, channel: int) -> Tensor:
    """Fill a channel (0: CT, 1: MR) of `(..., 2, d, h, w)` with `MISSING`; ValueError if there is none."""
    if channel not in range(image.shape[-4]):
        raise ValueError(f"channel must be one of the input's {image.shape[-4]}, got {channel}")
    out = image.clone()
    out.select(-4, channel).fill_(MISSING)
    return out


def is_missing(image: Tensor) -> Tensor:
    """Return missing modalities of `(b, 2, d, h, w)` as `(b, 2)`: True where a channel is below 0 everywhere."""
    return image.flatten(2).amax(dim=2) < 0


def random_misregistration(
    shift_voxels: float, rotation_degrees: float, random: np.random.RandomState
) -> Misregistration:
    """Draw uniform directions for a shift of the given length and a rotation by the given angle."""
    shift, axis = (_direction(random) for _ in range(2))
    return Misregistration(_vector(shift * shift_voxels), _vector(axis * rotation_degrees))


def origins(points: Tensor, misregistration: Misregistration) -> Tensor:
    """Map `(..., 3)` (voxels, d h w, from the centre) to before the misregistration: `R^T (x - shift)`."""
    matrix = points.new_tensor(misregistration.matrix())
    return (points - matrix[:, 3]) @ matrix[:, :3]


def apply_misregistration(image: Tensor, misregistration: Misregistration) -> Tensor:
    """Misregister `(c, d, h, w)` of isotropic voxels by trilinear interpolation; borders repeat."""
    here = block_centres(image.shape[1:], image.shape[1:], image)
    return sample_at(image[None], origins(here, misregistration)[None])[0]


def block_centres(size: Sequence[int], count: Sequence[int], like: Tensor) -> Tensor:
    """Return the centres `(*count, 3)` of `count` blocks of `size` voxels, voxels from the centre, as `like`."""
    axes = (
        (torch.arange(m, dtype=like.dtype, device=like.device) + 0.5) * (n / m) - n / 2
        for n, m in zip(size, count, strict=True)
    )
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def sample_at(image: Tensor, points: Tensor) -> Tensor:
    """Sample `(b, c, d, h, w)` trilinearly at points `(b, d, h, w, 3)`, voxels from the centre; borders repeat."""
    half = image.new_tensor([n / 2 for n in image.shape[2:]])
    # grid_sample counts w, h, d, from -1 to 1 over the faces of the image.
    return functional.grid_sample(image, (points / half).flip(-1), padding_mode="border", align_corners=False)


def _direction(random: np.random.RandomState) -> NDArray[np.float64]:
    vector = random.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector), np.float64)


def _vector(values: NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
