"""Interpret, straighten and reorient grids; find the extents of classes."""

from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray
from scipy import ndimage

from crossmodalnet.imaging.volume import Grid, Volume

MAX_SPACING_MM = 20.0
MIN_SPACING_MM = 1e-2
# Shortest side of a scan of a newborn's heart, longest side of a whole-body scan.
SMALLEST_HEART_MM = 30.0
LARGEST_PATIENT_MM = 2200.0
# Codes of `xyzt_units` for space; 0 is unknown and means mm by convention.
_MM_PER_UNIT = {1: ("metres", 1000.0), 3: ("micrometres", 1e-3)}
# Axes to the patient's right, front and head (RAS).
WORLD = Grid((1, 1, 1), np.eye(4))
Extent = tuple[slice, ...]


def odd_extent(shape: Sequence[int], spacing_mm: Sequence[float]) -> str | None:
    """Describe an implausible scan size (wrong unit of spacings?); None if plausible.

    >>> odd_extent((512, 512, 300), (0.0005, 0.0005, 0.001))
    'is 0.256 x 0.256 x 0.3 mm, smaller than any heart'
    """
    extents = [num * spacing for num, spacing in zip(shape, spacing_mm, strict=True)]
    listed = f"is {' x '.join(f'{extent:.3g}' if extent < 100 else f'{extent:.0f}' for extent in extents)} mm"
    if min(extents) < SMALLEST_HEART_MM:
        return f"{listed}, smaller than any heart"
    return f"{listed}, larger than any patient" if max(extents) > LARGEST_PATIENT_MM else None


def right_angled(grid: Grid) -> Grid:
    """Return the grid of the same centre, spacing and shape with the nearest orthogonal axes."""
    spacing = np.array(grid.spacing_mm)
    u, _, v = np.linalg.svd(grid.affine[:3, :3] / spacing)
    affine = np.eye(4)
    affine[:3, :3] = (u @ v) * spacing
    middle = (np.array(grid.shape)[:, None] - 1) / 2
    affine[:3, 3] = grid.to_world(middle)[:, 0] - affine[:3, :3] @ middle[:, 0]
    return Grid(grid.shape, affine)


def is_sheared(grid: Grid) -> bool:
    """Return True if the axes differ from right angles by more than the position tolerance."""
    return grid.largest_shift_mm(right_angled(grid)) > grid.tolerance_mm


def shear_degrees(grid: Grid) -> float:
    """Return the largest deviation of two axes from a right angle, degrees."""
    axes = grid.affine[:3, :3] / np.array(grid.spacing_mm)
    cosines = np.abs(axes.T @ axes - np.eye(3)).max()
    return float(np.degrees(np.arcsin(min(1.0, float(cosines)))))


def covering_grid(grid: Grid) -> Grid:
    """Lay a right-angled grid over all voxels of a sheared one: nearest axes, same spacings."""
    straight = right_angled(grid)
    lowest, highest = straight.reach(grid.to_world(grid.corners()))
    low = np.floor(lowest + 1e-6)
    i, j, k = (np.ceil(highest - 1e-6) - low + 1).astype(int).tolist()
    affine = straight.affine.copy()
    affine[:3, 3] = straight.to_world(low[:, None])[:, 0]
    return Grid((i, j, k), affine)


def reoriented_grid(grid: Grid, like: Grid) -> Grid:
    """Permute and flip the axes of a grid to match another; voxel positions stay the same.

    >>> flipped = Grid((4, 5, 6), np.diag([-1.0, 1.0, 1.0, 1.0]))
    >>> reoriented_grid(flipped, Grid((4, 5, 6), np.eye(4))).affine[0].tolist()
    [1.0, 0.0, 0.0, -3.0]
    """
    change = _axis_change(grid, like)
    affine = grid.affine @ nib.orientations.inv_ornt_aff(change, grid.shape)
    i, j, k = (grid.shape[axis] for axis in np.argsort(change[:, 0]))
    return Grid((i, j, k), np.asarray(affine, np.float64))


def reoriented(volume: Volume, like: Grid) -> Volume:
    """Permute and flip the axes of a volume to match a grid; no voxel moves in the world."""
    data = nib.orientations.apply_orientation(volume.data, _axis_change(volume.grid, like))  # a view
    return Volume(data, reoriented_grid(volume.grid, like).affine)


def _axis_change(grid: Grid, like: Grid) -> NDArray[np.float64]:
    """Return the target axis and direction of each axis, in nibabel's form."""
    own, other = (nib.orientations.io_orientation(g.affine) for g in (grid, like))
    return np.asarray(nib.orientations.ornt_transform(own, other), np.float64)


def class_extents(labels: NDArray[Any]) -> dict[int, Extent]:
    """Find the bounding block of voxels `(i, j, k)` of each class, background excluded.

    >>> labels = np.zeros((4, 5, 6), np.uint8)
    >>> labels[1:3, 2, 4:] = 7
    >>> class_extents(labels)
    {7: (slice(1, 3, None), slice(2, 3, None), slice(4, 6, None))}
    """
    # NIfTI arrays are in Fortran order, on which scipy takes four times as long.
    turned = labels.flags.f_contiguous
    blocks = enumerate(ndimage.find_objects(labels.T if turned else labels), start=1)
    extents = {index: extent for index, extent in blocks if extent is not None}
    return {index: extent[::-1] for index, extent in extents.items()} if turned else extents


def settled_affine(header: Any, shape: tuple[int, ...], affine: NDArray[Any]) -> tuple[NDArray[np.float64], list[str]]:
    """Interpret a contradictory NIfTI header: affine in mm, and a note per assumption.

    Args:
        header: header as it is in the file, not repaired.
        affine: affine as nibabel chooses it: sform, else qform, else from the spacings alone.
    """
    affine = np.asarray(affine, np.float64)
    if len(shape) < 3 or not np.isfinite(affine).all():
        return affine, []
    notes: list[str] = []
    grid = Grid((shape[0], shape[1], shape[2]), affine)
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    if sform <= 0 and qform <= 0:
        notes.append(
            "the header does not say how the scan lies in the patient (sform and qform codes 0): assumed that the "
            "axes run to the patient's left, front and head"
        )
    elif sform > 0 and qform > 0:
        notes += _qform_notes(header, grid)
    pixdim = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    if (pixdim > 0).all() and np.isfinite(pixdim).all() and sform > 0:
        off = np.abs(pixdim - np.array(grid.spacing_mm)) * (np.array(grid.shape) - 1)
        if off.max() > grid.tolerance_mm:
            notes.append(
                f"pixdim says {_listed(pixdim)} mm, the affine {_listed(grid.spacing_mm)} mm: assumed the affine"
            )
    affine, unit_notes = _in_mm(header, affine)
    return affine, notes + unit_notes


def _qform_notes(header: Any, grid: Grid) -> list[str]:
    damaged = ["the qform is damaged: assumed the sform"]
    try:
        other = Grid(grid.shape, np.asarray(header.get_qform(), np.float64))
    except (ValueError, HeaderDataError):
        return damaged
    if not np.isfinite(other.affine).all():
        return damaged
    if grid.same_as(other):
        return []
    shift_mm = grid.largest_shift_mm(other)
    return [f"sform and qform put the voxels up to {shift_mm:.3g} mm apart: assumed the sform"]


def _in_mm(header: Any, affine: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[str]]:
    """Convert to mm if the header's unit gives plausible spacings; else assume mm."""
    name, factor = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, ("", 1.0))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if name and _are_of_a_scan(spacing * factor):
        scaled = affine.copy()
        scaled[:3] *= factor
        return scaled, [f"positions are in {name}: converted, spacing {_listed(spacing * factor)} mm"]
    if name and _are_of_a_scan(spacing):
        return affine, [f"the header says {name}, its spacing {_listed(spacing)} is one in mm: assumed mm"]
    return affine, []


def _are_of_a_scan(spacing_mm: NDArray[Any]) -> bool:
    return bool(((spacing_mm > MIN_SPACING_MM) & (spacing_mm <= MAX_SPACING_MM)).all())


def _listed(values: Any) -> str:
    return " x ".join(f"{float(value):.4g}" for value in values)
