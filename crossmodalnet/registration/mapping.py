"""A transform in memory, and images and label maps brought through it: the whole image once, a label map where it lies.

One composite map from the CT's own voxels to the MR's own; it is evaluated slab by slab, so that memory stays small.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.registration.affine_file import read_affine
from crossmodalnet.registration.lattice import Lattice, sample
from crossmodalnet.registration.syn import Transform

_SLAB_VOXELS = 500_000
_LPS = np.array([-1.0, -1.0, 1.0])


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


def write_field(path: Path, field_mm: Tensor, lattice: Lattice) -> None:
    """Write a displacement as ANTs does: `(i, j, k, 1, 3)`, LPS vectors in mm."""
    vectors = np.moveaxis(field_mm.numpy(), 0, -1)[:, :, :, None] * _LPS
    image = nib.Nifti1Image(vectors.astype(np.float32), lattice.grid.affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def read_mapping(transform: Transform) -> Mapping:
    """Read a transform whose warp `write_field` wrote.

    Raises:
        ValueError: it has no warp, or one that does not lie along the world's axes.
    """
    if transform.warp is None:
        raise ValueError("transform must have a warp, got an affine one")
    image = nib.load(transform.warp)
    affine = np.asarray(image.affine, np.float64)
    spacing = float(affine[0, 0])
    if not np.allclose(affine[:3, :3], spacing * np.eye(3), atol=1e-5):
        raise ValueError(f"{transform.warp} must lie along the world's axes, isotropic")
    vectors = np.asarray(image.dataobj, np.float32)[:, :, :, 0] * _LPS.astype(np.float32)
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
    whole = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    for part in _slabs(whole):
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
    classes = [int(value) for value in np.unique(cut.data) if value]
    for part in _slabs(box):
        places = _places(grid, part, cut.grid, mapping)
        inside = _inside(places, cut.grid.shape)
        rest = torch.ones(places.shape[1:])
        best = torch.zeros(places.shape[1:])
        winner = torch.zeros(places.shape[1:], dtype=torch.int64)
        for value in classes:
            share = sample(torch.from_numpy((cut.data == value).astype(np.float32))[None], places)[0] * inside
            rest -= share
            winner[share > best] = value
            best = torch.maximum(best, share)
        winner[rest >= best] = 0
        moved[part] = winner.numpy()
    return Volume(moved, grid.affine)


def _slabs(box: tuple[slice, slice, slice]) -> Iterator[tuple[slice, slice, slice]]:
    """Parts of a box along its first axis of about `_SLAB_VOXELS` voxels."""
    first, second, third = box
    plane = (second.stop - second.start) * (third.stop - third.start)
    height = max(1, _SLAB_VOXELS // max(plane, 1))
    for start in range(first.start, first.stop, height):
        yield slice(start, min(start + height, first.stop)), second, third


def _places(grid: Grid, part: tuple[slice, slice, slice], moving: Grid, mapping: Mapping) -> Tensor:
    """Where the voxels of a part of the grid lie in the moving image: indices `(3, i, j, k)`."""
    axes = [torch.arange(axis.start, axis.stop, dtype=torch.float64) for axis in part]
    lattice = mapping.lattice.grid
    to_lattice = np.linalg.inv(lattice.affine) @ grid.affine
    displaced = sample(mapping.field_mm, _applied(to_lattice, axes).float())
    to_moving = np.linalg.inv(moving.affine) @ mapping.affine
    turn = torch.from_numpy(to_moving[:3, :3]).float()
    moved = (turn @ displaced.reshape(3, -1)).reshape(displaced.shape)
    return _applied(to_moving @ grid.affine, axes).float() + moved


def _applied(matrix: NDArray[np.float64], axes: list[Tensor]) -> Tensor:
    """An affine map of the indices `axes`: `(3, i, j, k)`, float64."""
    i, j, k = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([row[0] * i + row[1] * j + row[2] * k + row[3] for row in matrix[:3].tolist()])


def _inside(places: Tensor, shape: tuple[int, int, int]) -> Tensor:
    limits = torch.tensor(shape, dtype=torch.float32)[:, None, None, None] - 0.5
    return ((places > -0.5) & (places < limits)).all(dim=0)


def _region(
    labels: Volume, grid: Grid, mapping: Mapping
) -> tuple[tuple[slice, slice, slice], Volume] | None:
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
    corners = np.array(list(product(*[(-1, n) for n in cut.data.shape]))).T
    back = np.linalg.inv(mapping.affine)
    world = back[:3, :3] @ cut.grid.to_world(corners) + back[:3, 3:]
    reach = float(mapping.field_mm.square().sum(dim=0).max().sqrt()) / min(grid.spacing_mm) + 1
    places = grid.to_index(world)
    start = np.clip(np.floor(places.min(axis=1) - reach), 0, grid.shape).astype(int)
    stop = np.clip(np.ceil(places.max(axis=1) + reach) + 1, start, grid.shape).astype(int)
    a, b, c = (slice(int(x), int(y)) for x, y in zip(start, stop, strict=True))
    return (a, b, c), cut
