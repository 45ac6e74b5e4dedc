"""Pairs of real size for the benchmark of registration: CT and MR of different phantom people, easy and hard ones."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.phantom import Scanner
from crossmodalnet.phantom.appearance import image_ct, image_mr
from crossmodalnet.phantom.scanner import CT_PROTOCOLS, MR_PROTOCOLS, Scan
from crossmodalnet.phantom.shape import draw_shape, rotation_matrix

Size = tuple[int, int, int]
# From the origin of the phantom's heart to the middle of the box of its structures, mm.
_HEART_MIDDLE_MM = np.array([0.0, -4.0, 10.0])


@dataclass(frozen=True)
class PairPlan:
    """Sizes and spacings of a pair along world x, y, z, and how it lies; all else is drawn from its number."""

    number: int
    ct_size: Size = (367, 367, 312)
    ct_spacing_mm: tuple[float, float, float] = (0.6, 0.6, 0.6)
    mr_size: Size = (220, 220, 187)
    mr_spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shift_mm: float = 0.0  # distance of the MR's heart from the middle of its field of view
    turn_degrees: float = 0.0  # turn of the MR's patient against the CT's
    codes: bool = False  # axes of the arrays permuted and reversed at random
    scanner: Scanner = "reference"

    def at(self, spacing_mm: float) -> "PairPlan":
        """The plan with the same fields of view at another spacing, isotropic."""

        def resized(size: Size, spacing: tuple[float, float, float]) -> Size:
            x, y, z = (max(8, round(n * s / spacing_mm)) for n, s in zip(size, spacing, strict=True))
            return x, y, z

        ct, mr = resized(self.ct_size, self.ct_spacing_mm), resized(self.mr_size, self.mr_spacing_mm)
        same = (spacing_mm, spacing_mm, spacing_mm)
        return replace(self, ct_size=ct, mr_size=mr, ct_spacing_mm=same, mr_spacing_mm=same)


def coronary_plan(number: int) -> PairPlan:
    """A coronary CT with a free-breathing MR, both of real size."""
    return PairPlan(
        number,
        ct_size=(512, 512, 250), ct_spacing_mm=(0.45, 0.45, 0.6),
        mr_size=(288, 288, 160), mr_spacing_mm=(0.8, 0.8, 1.0),
    )  # fmt: skip


def make_pair(plan: PairPlan) -> tuple[Volume, Volume, Volume, Volume]:
    """Make CT, its label map, MR and its label map; CT and MR are of different people, somewhere in the scanner."""
    ct = _scan_of(plan, Modality.CT, 0.0, 0.0)
    mr = _scan_of(plan, Modality.MR, plan.shift_mm, plan.turn_degrees)
    return (*ct, *mr)


def _scan_of(plan: PairPlan, modality: Modality, shift_mm: float, turn_degrees: float) -> tuple[Volume, Volume]:
    stream = list(Modality).index(modality)
    person, geometry, looks = (np.random.default_rng([4711, plan.number, stream, part]) for part in range(3))
    shape = draw_shape(person)
    turned = rotation_matrix(_direction(geometry) * np.deg2rad(turn_degrees))
    shape = replace(shape, rotation=turned @ shape.rotation)
    is_ct = modality is Modality.CT
    oblique = np.eye(3) if is_ct else rotation_matrix(_direction(geometry) * np.deg2rad(geometry.uniform(0, 8)))
    size, spacing = (plan.ct_size, plan.ct_spacing_mm) if is_ct else (plan.mr_size, plan.mr_spacing_mm)
    heart = geometry.uniform((-60, -250, -400), (60, 60, 150))
    middle = heart + turned @ _HEART_MIDDLE_MM + shift_mm * _direction(geometry) + geometry.uniform(-4, 4, 3)
    axes = geometry.permutation(3) if plan.codes else np.arange(3)
    signs = geometry.choice([-1.0, 1.0], 3) if plan.codes else np.ones(3)
    scan = _laid(np.array(size)[axes], oblique[:, axes] * signs * np.array(spacing)[axes], middle, heart, axes)
    if is_ct:
        image, labels = image_ct(looks, shape, scan, CT_PROTOCOLS[plan.scanner])
    else:
        image, labels = image_mr(looks, shape, scan, MR_PROTOCOLS[plan.scanner])
    return Volume(image.astype(np.float32), scan.grid.affine), Volume(labels, scan.grid.affine)


def _laid(
    shape: NDArray[np.int64],
    matrix: NDArray[np.float64],
    middle: NDArray[np.float64],
    heart: NDArray[np.float64],
    axes: NDArray[np.int64],
) -> Scan:
    """Lay a grid of voxel axes `matrix` around `middle`."""
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = middle - matrix @ ((shape - 1) / 2)
    grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
    return Scan(grid, heart, int(np.flatnonzero(axes == 2)[0]))


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))
