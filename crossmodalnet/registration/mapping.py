"""Warp images and label maps through one composite map from the CT's to the MR's voxels.

The map is evaluated in slabs to save memory. Where voxels are much finer than the field, it is evaluated at every few
voxels and interpolated linearly.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from crossmodalnet.imaging.volume import Grid, Volume, corners_of
from crossmodalnet.registration.ants import Transform, read_affine, read_field
from crossmodalnet.registration.diffeomorphic import Lattice, sample, sample_at, sample_list, to_unit

_SLAB_VOXELS = 500_000
# Distance of the knots, at most, relative to the field's spacing: the field is smooth and linear there.
_STEP = 0.5
_MIXED = -1


@dataclass(frozen=True)
class Mapping:
    """A map from the fixed to the moving image's world: a field, then an affine map; RAS mm."""

    affine: NDArray[np.float64]  # 4x4
    field_mm: Tensor  # (3, i, j, k) on the lattice; outside, the border's value
    lattice: Lattice


def read_mapping(transform: Transform) -> Mapping:
    """Read a transform whose warp lies on a lattice.

    Raises:
        ValueError: it has no warp, or one that is not along the world axes.
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
    """Interpolate an image linearly on a grid in the fixed world; float32, `fill` outside its field of view."""
    values = torch.from_numpy(np.ascontiguousarray(moving.data, np.float32))[None]
    moved = np.empty(grid.shape, np.float32)
    steps, ends = _steps(grid, mapping), to_unit(_ends(moving.grid.shape), moving.grid.shape)
    for part in _slabs(_whole(grid.shape)):
        knots = to_unit(_places_at(_knots(part, steps), grid, moving.grid, mapping), moving.grid.shape)
        places = _between(knots, part, steps)
        found = sample_at(values, places)[0]
        if not _within(knots, ends).all():  # else all voxels between them are inside, too
            found[~_within(places, ends)] = fill
        moved[part] = found.numpy()
    return Volume(moved, grid.affine)


def map_labels(labels: Volume, grid: Grid, mapping: Mapping) -> Volume:
    """Warp a label map to a grid in the fixed world: the class with the largest share wins; 0 outside."""
    moved = np.zeros(grid.shape, labels.data.dtype)
    region = _region(labels, grid, mapping)
    if region is None:
        return Volume(moved, grid.affine)
    box, cut = region
    # Only places whose eight neighbours differ in class are interpolated.
    cells, classes = _uniform_cells(cut.data), [int(value) for value in np.unique(cut.data) if value]
    shares = torch.from_numpy(np.stack([cut.data == value for value in classes]).astype(np.float32))
    names = torch.tensor([0, *classes], dtype=cells.dtype)
    _, rows, columns = cut.data.shape
    ends = _ends(cut.grid.shape)
    for part in _slabs(box):
        places = _places(grid, part, cut.grid, mapping)
        i, j, k = (places[axis].floor().long().clamp_(0, n - 1) for axis, n in enumerate(cut.data.shape))
        found = cells.take((i * rows + j) * columns + k)
        mixed = found == _MIXED
        share = sample_list(shares, places[:, mixed])
        found[mixed] = names[torch.cat([1 - share.sum(dim=0, keepdim=True), share]).argmax(dim=0)]
        found[~_within(places, ends)] = 0
        moved[part] = found.numpy()
    return Volume(moved, grid.affine)


def _uniform_cells(labels: NDArray[Any]) -> Tensor:
    """Return the class shared by each voxel and the seven after it, or `_MIXED`; `(i, j, k)`."""
    least = ndimage.minimum_filter(labels, size=2, origin=-1, mode="nearest")
    most = ndimage.maximum_filter(labels, size=2, origin=-1, mode="nearest")
    return torch.from_numpy(np.where(least == most, labels.astype(np.int16), np.int16(_MIXED)))


def _slabs(box: tuple[slice, slice, slice]) -> Iterator[tuple[slice, slice, slice]]:
    """Split a box along its first axis into parts of about `_SLAB_VOXELS` voxels."""
    first, second, third = box
    plane = (second.stop - second.start) * (third.stop - third.start)
    height = max(1, _SLAB_VOXELS // max(plane, 1))
    for start in range(first.start, first.stop, height):
        yield slice(start, min(start + height, first.stop)), second, third


def _places(grid: Grid, part: tuple[slice, slice, slice], moving: Grid, mapping: Mapping) -> Tensor:
    """Map the voxels of a part of the grid to indices in the moving image, `(3, i, j, k)`."""
    steps = _steps(grid, mapping)
    return _between(_places_at(_knots(part, steps), grid, moving, mapping), part, steps)


def _knots(part: tuple[slice, slice, slice], steps: list[int]) -> list[NDArray[np.float64]]:
    """Choose the indices along each axis at which the map is evaluated; the last may lie outside the part."""
    return [
        np.arange(voxels.start, voxels.stop + step if step > 1 else voxels.stop, step, dtype=np.float64)
        for voxels, step in zip(part, steps, strict=True)
    ]


def _between(knots: Tensor, part: tuple[slice, slice, slice], steps: list[int]) -> Tensor:
    """Interpolate values at the knots to all voxels of a part of the grid, `(3, i, j, k)`."""
    for axis, (voxels, step) in enumerate(zip(part, steps, strict=True), 1):
        if step > 1:
            knots = _linear_between(knots, axis, step).narrow(axis, 0, voxels.stop - voxels.start)
    return knots


def _steps(grid: Grid, mapping: Mapping) -> list[int]:
    """Choose the distance of the knots along each axis of the grid, voxels."""
    return [max(1, int(_STEP * mapping.lattice.spacing_mm / spacing)) for spacing in grid.spacing_mm]


def _linear_between(values: Tensor, axis: int, step: int) -> Tensor:
    """Insert `step - 1` interpolated values after each value of an axis but the last: `(n - 1) step`."""
    n = values.shape[axis] - 1
    weights = torch.arange(step, dtype=torch.float32) / step
    weights = weights.reshape([-1 if d == axis + 1 else 1 for d in range(values.dim() + 1)])
    first, second = values.narrow(axis, 0, n), values.narrow(axis, 1, n)
    return torch.lerp(first.unsqueeze(axis + 1), second.unsqueeze(axis + 1), weights).flatten(axis, axis + 1)


def _places_at(axes: list[NDArray[np.float64]], grid: Grid, moving: Grid, mapping: Mapping) -> Tensor:
    """Map voxels at these indices of the grid's axes to indices in the moving image, `(3, i, j, k)`."""
    lattice = mapping.lattice.grid
    to_lattice = np.linalg.inv(lattice.affine) @ grid.affine
    displaced = sample(mapping.field_mm, _applied(to_lattice, axes))
    to_moving = np.linalg.inv(moving.affine) @ mapping.affine
    turn = torch.from_numpy(to_moving[:3, :3]).float()
    moved = (turn @ displaced.reshape(3, -1)).reshape(displaced.shape)
    return _applied(to_moving @ grid.affine, axes) + moved


def _applied(matrix: NDArray[np.float64], axes: list[NDArray[np.float64]]) -> Tensor:
    """Apply an affine map to the indices `axes`: `(3, i, j, k)`, float32; only the last sum is of whole arrays."""
    i, j, k = axes
    planes = matrix[:3, 3, None, None] + matrix[:3, :1, None] * i[:, None] + matrix[:3, 1:2, None] * j
    lines = matrix[:3, 2, None] * k
    return (
        torch.from_numpy(planes.astype(np.float32))[..., None]
        + torch.from_numpy(lines.astype(np.float32))[:, None, None]
    )


def _ends(shape: tuple[int, int, int]) -> Tensor:
    """Return the outer ends of the first and last voxel of each axis, as indices `(3, 2, 1, 1)`."""
    return torch.tensor([[-0.5, n - 0.5] for n in shape], dtype=torch.float32)[:, :, None, None]


def _within(places: Tensor, ends: Tensor) -> Tensor:
    """Mark which of `(3, i, j, k)` lie between the ends of all three axes."""
    return ((places > ends[:, :1]) & (places < ends[:, 1:])).all(dim=0)


def labelled_part(labels: Volume) -> Volume | None:
    """Crop a label map to its labelled voxels and one voxel around them; None where there are none."""
    filled = labels.data != 0
    along = [np.flatnonzero(filled.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not along[0].size:
        return None
    low, high = (np.array([indices[end] for indices in along]) for end in (0, -1))
    part = labels.part(low - 1, high + 2)
    return Volume(np.ascontiguousarray(part.data), part.affine)


def _region(labels: Volume, grid: Grid, mapping: Mapping) -> tuple[tuple[slice, slice, slice], Volume] | None:
    """Find the part of the grid that labelled voxels can reach, and crop the label map to them."""
    cut = labelled_part(labels)
    if cut is None:
        return None
    lattice = mapping.lattice
    places = _places(lattice.grid, _whole(lattice.shape), cut.grid, mapping)
    # A label's voxels lie where the field, sampled this coarsely, leads to within two of its steps from the cut part.
    margin = 2 * lattice.spacing_mm / min(cut.spacing_mm)
    limits = torch.tensor(cut.grid.shape, dtype=torch.float32)[:, None, None, None] - 1 + margin
    near = ((places >= -margin) & (places <= limits)).all(dim=0).numpy()
    if not near.any():
        return None
    found = np.array(np.nonzero(near))
    corners = corners_of(found.min(axis=1) - 1, found.max(axis=1) + 1)
    low, high = grid.reach(lattice.grid.to_world(corners))
    start = np.clip(np.floor(low), 0, grid.shape).astype(int)
    stop = np.clip(np.ceil(high) + 1, start, grid.shape).astype(int)
    a, b, c = (slice(int(x), int(y)) for x, y in zip(start, stop, strict=True))
    return (a, b, c), cut


def _whole(shape: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    i, j, k = shape
    return slice(0, i), slice(0, j), slice(0, k)
