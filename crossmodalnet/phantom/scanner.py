"""Scan geometry: the voxel grid of a CT or an MR of a person, and the patient coordinates of its voxels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid
from crossmodalnet.phantom.primitives import Field
from crossmodalnet.phantom.protocols import CT_PROTOCOLS, MR_PROTOCOLS, Scanner
from crossmodalnet.phantom.shape import rotation_matrix


@dataclass(frozen=True)
class Scan:
    """A grid, and where the person lies in it.

    Attributes:
        grid: voxels in scanner coordinates (world RAS mm).
        heart_mm: `(3,)` the heart's origin in scanner coordinates.
        slice_axis: array axis across the slices.
    """

    grid: Grid
    heart_mm: NDArray[np.float64]
    slice_axis: int

    def patient_points(self, slice_offset: float = 0.0, rows: slice = slice(None)) -> Field:
        """Patient coordinates `(3, i, j, k)` of the voxels, mm.

        Args:
            slice_offset: shift across the slices, slices.
            rows: part of the first axis.
        """
        axes = [np.arange(n, dtype=np.float64) for n in self.grid.shape]
        axes[self.slice_axis] = axes[self.slice_axis] + slice_offset
        axes[0] = axes[0][rows]
        i, j, k = np.meshgrid(*axes, indexing="ij", sparse=True)
        matrix = self.grid.affine[:3, :3]
        start = self.grid.affine[:3, 3] - self.heart_mm
        return np.stack(
            [
                (row[0] * i + row[1] * j + row[2] * k + offset)
                for row, offset in zip(matrix, start, strict=True)
            ]
        )


def draw_scan(
    rng: np.random.Generator, modality: Modality, spacing_mm: float, scanner: Scanner = "reference"
) -> Scan:
    """Draw a scan.

    CT: axial slices parallel to the world's axes. MR: turned by 5 to 20 degrees, slices axial, coronal or
    sagittal. Both: axes in any order and direction, spacing and field of view within a few per cent, any
    scanner origin.

    Args:
        rng: source of all choices.
        modality: CT or MR.
        spacing_mm: in-plane spacing, before its variation.
        scanner: gives slice distance and field of view.
    """
    protocol = CT_PROTOCOLS[scanner] if modality is Modality.CT else MR_PROTOCOLS[scanner]
    in_plane = spacing_mm * rng.uniform(0.96, 1.04)
    axes = rng.permutation(3)
    signs = rng.choice([-1.0, 1.0], 3)
    if modality is Modality.CT:
        slice_world, turn = 2, np.eye(3)
    else:
        slice_world, turn = int(rng.integers(3)), _oblique(rng)
    steps = np.full(3, in_plane)
    steps[slice_world] *= protocol.slice_factor
    fov = np.array(protocol.field_of_view_mm) * rng.uniform(0.98, 1.04, 3)
    counts = np.maximum(np.round(fov / steps), 8).astype(int)
    direction = turn[:, axes] * signs
    matrix = direction * steps[axes]
    shape = counts[axes]
    heart = rng.uniform((-60, -250, -400), (60, 60, 150))
    centre = heart + np.array([0.0, -4.0, 16.0]) * (1.0, 1.0, 0.6) + rng.uniform(-4, 4, 3)
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = centre - matrix @ ((shape - 1) / 2)
    grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
    return Scan(grid, heart, int(np.flatnonzero(axes == slice_world)[0]))


def _oblique(rng: np.random.Generator) -> NDArray[np.float64]:
    axis = rng.normal(size=3)
    return rotation_matrix(axis / np.linalg.norm(axis) * np.deg2rad(rng.uniform(5, 20)))
