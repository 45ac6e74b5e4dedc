"""Scanners and their protocols as numbers, and the voxel grid of a CT or an MR of a person.

Every scanner has the same fields, and the code draws from them in the same order, so a scanner changes values
and nothing else: the person, and for the scanner `reference` every voxel, stay as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid
from crossmodalnet.phantom.primitives import Field
from crossmodalnet.phantom.shape import rotation_matrix

Scanner = Literal["reference", "other"]
Range = tuple[float, float]


@dataclass(frozen=True)
class CtProtocol:
    """A contrast-enhanced CT. A `Range` is that of a uniform draw.

    Attributes:
        field_of_view_mm: along world x, y, z, before its variation.
        slice_factor: slice distance per in-plane spacing.
        left_hu: blood of the left heart.
        bright_right_share: share of people whose right heart is a ratio `right_of_left` of the left one.
        right_of_left: ratio of the right heart's blood to the left heart's, in `bright_right_share` of the people.
        right_hu: blood of the right heart in the others; its end is the most that any right heart has.
        mixing: unmixed blood in the right atrium, share of the right heart's HU.
        svc_of_right: blood of the superior vena cava per that of the right heart.
        ivc_hu: blood of the inferior vena cava.
        myocardium_hu: myocardium.
        noise_hu: standard deviation of the noise.
        kernel_voxels: standard deviation of the noise's correlation, voxels.
        blur_voxels: standard deviation of the image's blur, voxels.
    """

    field_of_view_mm: tuple[float, float, float]
    slice_factor: float
    left_hu: Range
    bright_right_share: float
    right_of_left: Range
    right_hu: Range
    mixing: float
    svc_of_right: Range
    ivc_hu: Range
    myocardium_hu: Range
    noise_hu: Range
    kernel_voxels: float
    blur_voxels: float


@dataclass(frozen=True)
class MrProtocol:
    """A gradient-echo MR; intensities are shares of a unit of the scanner. A `Range` is that of a uniform draw.

    Attributes:
        field_of_view_mm: along world x, y, z, before its variation.
        slice_factor: slice distance per in-plane spacing.
        blood: intensity of the left heart.
        tissue: intensity of all that is not blood, in the order in which it is drawn.
        cartilage: intensity.
        coil: strength of the coil's bias, 1 as in the reference.
        noise: standard deviation of the noise in each of the two channels.
        blur: width of a boundary per in-plane spacing.
    """

    field_of_view_mm: tuple[float, float, float]
    slice_factor: float
    blood: float
    tissue: Mapping[str, Range]
    cartilage: float
    coil: float
    noise: Range
    blur: float


CT_PROTOCOLS: dict[Scanner, CtProtocol] = {
    # An arterial phase: the left heart is bright, the right heart anything.
    "reference": CtProtocol(
        field_of_view_mm=(256.0, 232.0, 178.0), slice_factor=1.0,
        left_hu=(250, 450), bright_right_share=0.35, right_of_left=(0.85, 1.0), right_hu=(120, 350),
        mixing=0.12, svc_of_right=(1.0, 1.5), ivc_hu=(70, 150), myocardium_hu=(80, 130),
        noise_hu=(15, 28), kernel_voxels=0.6, blur_voxels=0.35,
    ),
    # A later phase: all blood is alike and dimmer, the myocardium has taken up contrast medium.
    "other": CtProtocol(
        field_of_view_mm=(216.0, 200.0, 156.0), slice_factor=1.5,
        left_hu=(168, 222), bright_right_share=1.0, right_of_left=(0.96, 1.03), right_hu=(150, 228),
        mixing=0.02, svc_of_right=(0.96, 1.04), ivc_hu=(150, 200), myocardium_hu=(75, 118),
        noise_hu=(27, 48), kernel_voxels=0.75, blur_voxels=0.6,
    ),
}  # fmt: skip

MR_PROTOCOLS: dict[Scanner, MrProtocol] = {
    # Balanced gradient echo: bright blood, dark myocardium, fat suppressed to bright.
    "reference": MrProtocol(
        field_of_view_mm=(212.0, 202.0, 168.0), slice_factor=1.6,
        blood=1.0,
        tissue={
            "fat": (0.12, 0.6), "muscle": (0.22, 0.34), "lung": (0.02, 0.07), "liver": (0.28, 0.45),
            "stomach": (0.3, 0.6), "spleen": (0.4, 0.55), "marrow": (0.15, 0.35), "fluid": (0.8, 1.1),
            "myocardium": (0.30, 0.45), "wall": (0.25, 0.4),
        },
        cartilage=0.25, coil=1.0, noise=(0.025, 0.05), blur=1.0,
    ),
    # Spoiled gradient echo, T1-weighted, without fat suppression: fat outshines blood, fluid is dark, and
    # myocardium is nearer to blood.
    "other": MrProtocol(
        field_of_view_mm=(186.0, 180.0, 152.0), slice_factor=2.0,
        blood=0.68,
        tissue={
            "fat": (0.9, 1.15), "muscle": (0.30, 0.38), "lung": (0.02, 0.07), "liver": (0.48, 0.6),
            "stomach": (0.2, 0.4), "spleen": (0.3, 0.4), "marrow": (0.55, 0.8), "fluid": (0.15, 0.25),
            "myocardium": (0.34, 0.44), "wall": (0.32, 0.42),
        },
        cartilage=0.3, coil=2.0, noise=(0.035, 0.06), blur=1.3,
    ),
}  # fmt: skip


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
