"""A transform in memory, and images and label maps brought through it: the whole image once, a label map where it lies.

One composite map from the CT's own voxels to the MR's own; it is evaluated slab by slab, so that memory stays small,
and where voxels are much finer than the field, at every few of them, and is linear between those.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.registration.affine_file import read_affine
from crossmodalnet.registration.field_file import read_field
from crossmodalnet.registration.lattice import Lattice, sample
from crossmodalnet.registration.syn import Transform

_SLAB_VOXELS = 500_000
# Voxels at which a map is evaluated lie at most this share of the field's own steps apart: the field is smooth, and
# its interpolation is linear there anyway.
_STEP = 0.5


@dataclass(frozen=True)
class Mapping:
    """A map from the fixed to the moving image's world: a field, then an affine map.

    Attributes:
        affine: 4x4, RAS mm.
        field_mm: displacement on `lattice`, RAS, `(3, i, j, k)`.
        lattice: lattice of the field; past its border the border's value goes on.
    """

    affine: NDArray[np.float64]
    field_mm: Tensor
    lattice: Lattice


def read_mapping(transform: Transform) -> Mapping:
    """Read a transform whose warp lies on a lattice.

    Raises:
        ValueError: it has no warp, or one that does not lie along the world's axes.
    """
    if transform.warp is None:
        raise ValueError("transform must have a warp, got an affine one")
    vectors, affine = read_field(transform.warp)
    spacing = float(affine[0, 0])
    if not np.allclose(affine[:3, :3], spacing * np.eye(3), atol=1e-5):
        raise ValueError(f"{transform.warp} must lie along the world's axes, isotropic")
    i, j, k, _ = vectors.shape
    field = torch.from_numpy(np.ascontiguousarray(np.moveaxis(vectors, -1, 0)))
    return Mapping(read_affine(transform.affine), field, Lattice(affine[:3, 3], (i, j, k), spacing))


def map_image(moving: Volume, grid: Grid, mapping: Mapping, fill: float) -> Volume:
    """Bring an image onto a grid, linearly.

    Args:
        moving: image.
        grid: grid in the fixed image's world.
        mapping: map from the fixed to the moving world.
        fill: value outside the moving field of view.

    Returns:
        float32 `(i, j, k)` of the grid.
    """
    values = torch.from_numpy(np.ascontiguousarray(moving.data, np.float32))[None]
    moved = np.empty(grid.shape, np.float32)
    for part in _slabs(_whole(grid.shape)):
        places = _places(grid, part, moving.grid, mapping)
        found = sample(values, places)[0]
        found[~_inside(places, moving.grid.shape)] = fill
        moved[part] = found.numpy()
    return Volume(moved, grid.affine)


def map_labels(labels: Volume, grid: Grid, mapping: Mapping) -> Volume:
    """Bring a label map onto a grid: each voxel gets the class with the largest interpolated share.

    Only the part of the grid where labelled voxels can lie is looked at.

    Args:
        labels: class indices.
        grid: grid in the fixed image's world.
        mapping: map from the fixed to the moving world.

    Returns:
        Class indices `(i, j, k)` of the grid, type of the labels' data; 0 outside.
    """
    moved = np.zeros(grid.shape, labels.data.dtype)
    region = _region(labels, grid, mapping)
    if region is None:
        return Volume(moved, grid.affine)
    box, cut = region
    # Where the eight voxels around a place are of one class, so is the place; only the others are interpolated.
    uniform, classes = _uniform_cells(cut.data), [int(value) for value in np.unique(cut.data) if value]
    values = torch.from_numpy(cut.data.astype(np.int64))
    shares = torch.from_numpy(np.stack([cut.data == value for value in classes]).astype(np.float32))
    names = torch.tensor([0, *classes])
    for part in _slabs(box):
        places = _places(grid, part, cut.grid, mapping)
        inside = _inside(places, cut.grid.shape)
        cells = [places[axis].floor().long().clamp(0, n - 1) for axis, n in enumerate(cut.grid.shape)]
        found = values[cells[0], cells[1], cells[2]]
        mixed = inside & ~uniform[cells[0], cells[1], cells[2]]
        found[~inside] = 0
        share = sample(shares, places[:, mixed][:, :, None, None])[:, :, 0, 0]
        found[mixed] = names[torch.cat([1 - share.sum(dim=0, keepdim=True), share]).argmax(dim=0)]
        moved[part] = found.numpy()
    return Volume(moved, grid.affine)


def _uniform_cells(labels: NDArray[np.uint8]) -> Tensor:
    """Tell for each voxel whether it and the seven that follow along the axes are of one class, `(i, j, k)`."""
    padded = np.pad(labels, (0, 1), mode="edge")
    least, most = padded, padded
    for axis in range(3):
        ends = [
            np.take(least, range(padded.shape[axis] - 1), axis),
            np.take(least, range(1, padded.shape[axis]), axis),
        ]
        tops = [
            np.take(most, range(padded.shape[axis] - 1), axis),
            np.take(most, range(1, padded.shape[axis]), axis),
        ]
        least, most = np.minimum(*ends), np.maximum(*tops)
    return torch.from_numpy(least == most)


def _slabs(box: tuple[slice, slice, slice]) -> Iterator[tuple[slice, slice, slice]]:
    """Parts of a box along its first axis of about `_SLAB_VOXELS` voxels."""
    first, second, third = box
    plane = (second.stop - second.start) * (third.stop - third.start)
    height = max(1, _SLAB_VOXELS // max(plane, 1))
    for start in range(first.start, first.stop, height):
        yield slice(start, min(start + height, first.stop)), second, third


def _places(grid: Grid, part: tuple[slice, slice, slice], moving: Grid, mapping: Mapping) -> Tensor:
    """Where the voxels of a part of the grid lie in the moving image: indices `(3, i, j, k)`."""
    steps = _steps(grid, mapping)
    axes = [
        np.arange(voxels.start, voxels.stop + step if step > 1 else voxels.stop, step, dtype=np.float64)
        for voxels, step in zip(part, steps, strict=True)
    ]
    places = _places_at(axes, grid, moving, mapping)
    for axis, (voxels, step) in enumerate(zip(part, steps, strict=True), 1):
        if step > 1:
            places = _linear_between(places, axis, step).narrow(axis, 0, voxels.stop - voxels.start)
    return places


def _steps(grid: Grid, mapping: Mapping) -> list[int]:
    """How many voxels apart, along each axis of the grid, the map is evaluated."""
    return [max(1, int(_STEP * mapping.lattice.spacing_mm / spacing)) for spacing in grid.spacing_mm]


def _linear_between(values: Tensor, axis: int, step: int) -> Tensor:
    """Each value along an axis but the last, and after it `step - 1` on the line to the next: `(n - 1) step`."""
    n = values.shape[axis] - 1
    weights = torch.arange(step, dtype=torch.float32) / step
    weights = weights.reshape([-1 if d == axis + 1 else 1 for d in range(values.dim() + 1)])
    first, second = values.narrow(axis, 0, n), values.narrow(axis, 1, n)
    return torch.lerp(first.unsqueeze(axis + 1), second.unsqueeze(axis + 1), weights).flatten(axis, axis + 1)


def _places_at(axes: list[NDArray[np.float64]], grid: Grid, moving: Grid, mapping: Mapping) -> Tensor:
    """Where the voxels of these indices along the grid's axes lie in the moving image, `(3, i, j, k)`."""
    lattice = mapping.lattice.grid
    to_lattice = np.linalg.inv(lattice.affine) @ grid.affine
    displaced = sample(mapping.field_mm, _applied(to_lattice, axes))
    to_moving = np.linalg.inv(moving.affine) @ mapping.affine
    turn = torch.from_numpy(to_moving[:3, :3]).float()
    moved = (turn @ displaced.reshape(3, -1)).reshape(displaced.shape)
    return _applied(to_moving @ grid.affine, axes) + moved


def _applied(matrix: NDArray[np.float64], axes: list[NDArray[np.float64]]) -> Tensor:
    """An affine map of the indices `axes`: `(3, i, j, k)`, float32; sums are of whole arrays at the last step only."""
    i, j, k = axes
    planes = matrix[:3, 3, None, None] + matrix[:3, :1, None] * i[:, None] + matrix[:3, 1:2, None] * j
    lines = matrix[:3, 2, None] * k
    return (
        torch.from_numpy(planes.astype(np.float32))[..., None]
        + torch.from_numpy(lines.astype(np.float32))[:, None, None]
    )


def _inside(places: Tensor, shape: tuple[int, int, int]) -> Tensor:
    limits = torch.tensor(shape, dtype=torch.float32)[:, None, None, None] - 0.5
    return ((places > -0.5) & (places < limits)).all(dim=0)


def _region(labels: Volume, grid: Grid, mapping: Mapping) -> tuple[tuple[slice, slice, slice], Volume] | None:
    """The part of the grid where labelled voxels can come to lie, and the part of the label map that has them."""
    filled = np.nonzero(labels.data)
    if not filled[0].size:
        return None
    shape = np.array(labels.data.shape)
    low = np.maximum([axis.min() - 1 for axis in filled], 0)
    high = np.minimum([axis.max() + 2 for axis in filled], shape)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    affine = labels.affine.copy()
    affine[:3, 3] = labels.grid.to_world(low[:, None])[:, 0]
    cut = Volume(np.ascontiguousarray(labels.data[i, j, k]), affine)
    lattice = mapping.lattice
    places = _places(lattice.grid, _whole(lattice.shape), cut.grid, mapping)
    # A label's voxels lie where the field, sampled this coarsely, leads to within two of its steps from the cut part.
    margin = 2 * lattice.spacing_mm / min(cut.spacing_mm)
    limits = torch.tensor(cut.grid.shape, dtype=torch.float32)[:, None, None, None] - 1 + margin
    near = ((places >= -margin) & (places <= limits)).all(dim=0).numpy()
    if not near.any():
        return None
    found = np.array(np.nonzero(near))
    corners = np.array(list(product(*[(axis.min() - 1, axis.max() + 1) for axis in found]))).T
    index = grid.to_index(lattice.grid.to_world(corners))
    start = np.clip(np.floor(index.min(axis=1)), 0, grid.shape).astype(int)
    stop = np.clip(np.ceil(index.max(axis=1)) + 1, start, grid.shape).astype(int)
    a, b, c = (slice(int(x), int(y)) for x, y in zip(start, stop, strict=True))
    return (a, b, c), cut


def _whole(shape: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    i, j, k = shape
    return slice(0, i), slice(0, j), slice(0, k)
