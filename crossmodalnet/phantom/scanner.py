"""Define scanners and protocols, and draw the voxel grid of a CT or MR.

All scanners draw the same fields in the same order, so `other` sees the persons of `reference`; the rest share theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid
from crossmodalnet.phantom import Scanner
from crossmodalnet.phantom.primitives import Field
from crossmodalnet.phantom.shape import Inside, Motion, Range, rotation_matrix


@dataclass(frozen=True)
class CtProtocol:
    """A CT with or without contrast medium; a `Range` is that of a uniform draw."""

    field_of_view_mm: tuple[float, float, float]  # along world x, y, z, before its variation
    slice_factor: float  # slice distance per in-plane spacing
    left_hu: Range  # blood of the left heart
    bright_right_share: float  # share of people whose right heart is `right_of_left` times the left one
    right_of_left: Range
    right_hu: Range  # blood of the right heart in the others; its end bounds every right heart
    mixing: float  # unmixed blood in the right atrium, share of the right heart's HU
    pools_hu: float  # largest difference between connected pools of blood
    svc_of_right: Range  # blood of the superior vena cava per that of the right heart
    ivc_hu: Range  # blood of the inferior vena cava
    myocardium_hu: Range
    liver_hu: Range
    spleen_hu: Range
    noise_hu: Range  # standard deviation of the noise
    kernel_voxels: float  # standard deviation of the noise's correlation
    blur_voxels: float  # standard deviation of the image's blur


@dataclass(frozen=True)
class MrProtocol:
    """A gradient-echo MR in shares of a unit of the scanner; a `Range` is that of a uniform draw."""

    field_of_view_mm: tuple[float, float, float]  # along world x, y, z, before its variation
    slice_factor: float  # slice distance per in-plane spacing
    blood: float  # blood of the left heart
    tissue: Mapping[str, Range]  # all that is not blood, in the order in which it is drawn
    cartilage: float
    coil: float  # strength of the coil's bias, 1 in the reference
    noise: Range  # standard deviation of the noise in each of the two channels
    blur: float  # width of a boundary per in-plane spacing
    motion: Motion | None = None  # of one patient since the CT


CT_PROTOCOLS: dict[Scanner, CtProtocol] = {
    # An arterial phase: the left heart is bright, the right heart anything.
    "reference": CtProtocol(
        field_of_view_mm=(256.0, 232.0, 178.0), slice_factor=1.0,
        left_hu=(250, 450), bright_right_share=0.35, right_of_left=(0.85, 1.0), right_hu=(120, 350),
        mixing=0.12, pools_hu=10, svc_of_right=(1.0, 1.5), ivc_hu=(70, 150), myocardium_hu=(80, 130),
        liver_hu=(75, 120), spleen_hu=(95, 140), noise_hu=(15, 28), kernel_voxels=0.6, blur_voxels=0.35,
    ),
    # A later phase: all blood is alike and dimmer, the myocardium has taken up contrast medium.
    "other": CtProtocol(
        field_of_view_mm=(216.0, 200.0, 156.0), slice_factor=1.5,
        left_hu=(168, 222), bright_right_share=1.0, right_of_left=(0.96, 1.03), right_hu=(150, 228),
        mixing=0.02, pools_hu=10, svc_of_right=(0.96, 1.04), ivc_hu=(150, 200), myocardium_hu=(75, 118),
        liver_hu=(75, 120), spleen_hu=(95, 140), noise_hu=(27, 48), kernel_voxels=0.75, blur_voxels=0.6,
    ),
}  # fmt: skip
# No contrast medium, as in the planning of radiotherapy: blood and myocardium are nearly alike.
CT_PROTOCOLS["native"] = replace(
    CT_PROTOCOLS["reference"], slice_factor=1.5,
    left_hu=(36, 46), bright_right_share=1.0, right_of_left=(0.98, 1.02), right_hu=(36, 47),
    mixing=0.0, pools_hu=1, svc_of_right=(0.98, 1.02), ivc_hu=(36, 46), myocardium_hu=(40, 50),
    liver_hu=(50, 65), spleen_hu=(45, 55),
)  # fmt: skip
CT_PROTOCOLS |= {"ungated": CT_PROTOCOLS["native"], "enhanced": CT_PROTOCOLS["reference"]}

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
    # Spoiled gradient echo, T1-weighted, no fat suppression: bright fat, dark fluid, myocardium near blood.
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
# The outer shape of the reference's hearts tells nearly all of their inside: a scan that shows it would add little.
INSIDES: dict[Scanner, Inside] = dict.fromkeys(("native", "ungated", "enhanced"), Inside((0.6, 2.0), (1.0, 2.0)))
# Thick slices in another breath than the CT; ungated: at another cardiac phase too.
BREATH = Motion(ventricles=(0.0, 0.0), breath_mm=(5, 15), turn_degrees=4)
MR_PROTOCOLS["native"] = replace(MR_PROTOCOLS["reference"], slice_factor=4.0, motion=BREATH)
MR_PROTOCOLS |= {
    name: replace(MR_PROTOCOLS["native"], motion=replace(BREATH, ventricles=(0.2, 0.4)))
    for name in ("ungated", "enhanced")
}


@dataclass(frozen=True)
class Scan:
    """A voxel grid (world RAS mm), the heart's origin `(3,)` in it, and the array axis across the slices."""

    grid: Grid
    heart_mm: NDArray[np.float64]
    slice_axis: int

    def patient_points(self, slice_offset: float = 0.0, rows: slice = slice(None)) -> Field:
        """Compute patient coordinates `(3, i, j, k)` of some rows, mm, shifted by `slice_offset` slices."""
        axes = [np.arange(n, dtype=np.float64) for n in self.grid.shape]
        axes[self.slice_axis] = axes[self.slice_axis] + slice_offset
        axes[0] = axes[0][rows]
        i, j, k = np.meshgrid(*axes, indexing="ij", sparse=True)
        matrix = self.grid.affine[:3, :3]
        start = self.grid.affine[:3, 3] - self.heart_mm
        rows_of = zip(matrix, start, strict=True)
        return np.stack([row[0] * i + row[1] * j + row[2] * k + offset for row, offset in rows_of])


def draw_scan(rng: np.random.Generator, modality: Modality, spacing_mm: float, scanner: Scanner = "reference") -> Scan:
    """Draw a scan (CT axial, MR oblique by 5 to 20 degrees); `spacing_mm` is in-plane, before its variation."""
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
    matrix = turn[:, axes] * signs * steps[axes]
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
