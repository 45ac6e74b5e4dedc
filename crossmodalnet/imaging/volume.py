"""Define voxels on a grid in the patient's space."""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Position tolerance: two grids agree if no corner moves further. Sform and qform of one grid
# differ by less if one was computed from the other in float32.
GRID_TOLERANCE_VOXELS = 0.1
# From NIfTI's world (RAS+) to ITK's (LPS+), and back.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def corners_of(low: NDArray[Any], high: NDArray[Any]) -> NDArray[Any]:
    """Return the eight corners `(3, 8)` of the box from `low` to `high`, `(3,)` each.

    >>> corners_of(np.array([0, 0, 5]), np.array([1, 2, 6]))[:, [0, 1, -1]].tolist()
    [[0, 0, 1], [0, 0, 2], [5, 6, 6]]
    """
    return np.array(list(product(*zip(low, high, strict=True)))).T


@dataclass(frozen=True)
class Grid:
    """A lattice of voxel centres: `shape` `(i, j, k)` and `affine`, 4 x 4, voxel index to world RAS+ in mm.

    >>> grid = Grid((100, 100, 50), np.diag([1.0, 1.0, 2.0, 1.0]))
    >>> grid.spacing_mm
    (1.0, 1.0, 2.0)
    >>> grid.to_world(np.array([[10], [0], [5]])).ravel().tolist()
    [10.0, 0.0, 10.0]
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Return the distance of neighbouring voxel centres per array axis, mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def tolerance_mm(self) -> float:
        """Return the position tolerance: a tenth of the smallest spacing, mm."""
        return GRID_TOLERANCE_VOXELS * min(self.spacing_mm)

    @property
    def volume_mm3(self) -> float:
        """Return the volume of all voxels, mm3."""
        return math.prod(self.shape) * float(abs(np.linalg.det(self.affine[:3, :3])))

    def same_as(self, other: "Grid") -> bool:
        """Compare shapes, and corners within the position tolerance."""
        return self.shape == other.shape and self.largest_shift_mm(other) <= self.tolerance_mm

    def largest_shift_mm(self, other: "Grid") -> float:
        """Return the largest distance between corresponding corners of two grids of one shape, mm.

        >>> Grid((2, 2, 2), np.eye(4)).largest_shift_mm(Grid((2, 2, 2), np.diag([1.0, 1.0, 3.0, 1.0])))
        2.0
        """
        corners = self.corners()
        return float(np.linalg.norm(self.to_world(corners) - other.to_world(corners), axis=0).max())

    def corners(self, beyond: float = 0.0) -> NDArray[np.float64]:
        """Return the indices `(3, 8)` of the corner voxels' centres, moved outwards by `beyond`.

        >>> Grid((2, 3, 4), np.eye(4)).corners(0.5)[:, [0, -1]].tolist()
        [[-0.5, 1.5], [-0.5, 2.5], [-0.5, 3.5]]
        """
        return corners_of(np.full(3, -beyond), np.array(self.shape) - 1 + beyond)

    def reach(self, points_mm: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the lowest and the highest continuous index `(3,)` of points `(3, n)` in mm.

        >>> low, high = Grid((4, 4, 4), np.diag([2.0, -2.0, 2.0, 1.0])).reach(np.array([[0, 3], [2, 6], [4, 4]]))
        >>> low.tolist(), high.tolist()
        ([0.0, -3.0, 2.0], [1.5, -1.0, 2.0])
        """
        index = self.to_index(points_mm)
        return index.min(axis=1), index.max(axis=1)

    def to_world(self, indices: NDArray[Any]) -> NDArray[np.float64]:
        """Map voxel indices `(3, n)` to world coordinates `(3, n)` in mm."""
        return np.asarray(self.affine[:3, :3] @ indices + self.affine[:3, 3:], np.float64)

    def to_index(self, points_mm: NDArray[Any]) -> NDArray[np.float64]:
        """Map world coordinates `(3, n)` in mm to continuous voxel indices `(3, n)`."""
        return np.asarray(np.linalg.solve(self.affine[:3, :3], points_mm - self.affine[:3, 3:]), np.float64)


@dataclass(frozen=True)
class Volume:
    """Voxels `(i, j, k)` on a grid: an image (float32) or a label map (class indices, uint8).

    >>> ct = Volume(np.zeros((100, 100, 50), np.float32), np.diag([1.0, 1.0, 2.0, 1.0]))
    >>> ct.grid.shape, ct.spacing_mm
    ((100, 100, 50), (1.0, 1.0, 2.0))
    """

    data: NDArray[Any]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.data.ndim != 3:
            raise ValueError(f"a volume has 3 axes, got shape {self.data.shape}")

    @property
    def grid(self) -> Grid:
        """Return the lattice of the voxels."""
        i, j, k = self.data.shape
        return Grid((i, j, k), self.affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Return the voxel spacing per array axis, mm."""
        return self.grid.spacing_mm

    def part(self, low: NDArray[Any], high: NDArray[Any]) -> "Volume":
        """Cut out the voxels from index `low` up to `high`, `(3,)`; a view of the same data.

        Fractions are rounded outwards and clipped to the volume; at least one voxel per axis remains.

        >>> part = Volume(np.zeros((4, 4, 4), np.float32), np.eye(4)).part(np.array([-1, 2, 9]), np.array([2, 4, 9]))
        >>> part.data.shape, part.affine[:3, 3].tolist()
        ((2, 2, 1), [0.0, 2.0, 3.0])
        """
        shape = np.array(self.data.shape)
        start = np.clip(np.floor(low).astype(int), 0, shape - 1)
        stop = np.clip(np.ceil(high).astype(int), start + 1, shape)
        affine = self.affine.copy()
        affine[:3, 3] = self.grid.to_world(start[:, None])[:, 0]
        i, j, k = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        return Volume(self.data[i, j, k], affine)

    def around(self, low_mm: NDArray[Any], high_mm: NDArray[Any]) -> "Volume":
        """Cut out the voxels around a box along the world axes, corners `(3,)` in RAS mm; a view."""
        low, high = self.grid.reach(corners_of(low_mm, high_mm))
        return self.part(low - 1, high + 2)
