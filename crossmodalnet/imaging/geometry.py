"""Compare, straighten and reorient grids; find where the classes of a label map lie."""

from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crossmodalnet.imaging.volume import Grid, Volume

MAX_SPACING_MM = 20.0
MIN_SPACING_MM = 1e-2
# A scan that holds a heart is as long as that of a newborn; none is longer than a patient.
SMALLEST_HEART_MM = 30.0
LARGEST_PATIENT_MM = 2200.0
# Codes of `xyzt_units` for space; 0 is unknown, and taken for mm as by everyone.
_MM_PER_UNIT = {1: ("metres", 1000.0), 3: ("micrometres", 1e-3)}


def odd_extent(shape: Sequence[int], spacing_mm: Sequence[float]) -> str | None:
    """Say whether a scan is smaller than any heart or larger than any patient, as by a wrong unit of its spacings.

    >>> odd_extent((512, 512, 300), (0.0005, 0.0005, 0.001))
    'is 0.256 x 0.256 x 0.3 mm, smaller than any heart'
    """
    extents = [num * spacing for num, spacing in zip(shape, spacing_mm, strict=True)]
    listed = f"is {' x '.join(f'{extent:.3g}' if extent < 100 else f'{extent:.0f}' for extent in extents)} mm"
    if min(extents) < SMALLEST_HEART_MM:
        return f"{listed}, smaller than any heart"
    return f"{listed}, larger than any patient" if max(extents) > LARGEST_PATIENT_MM else None


def right_angled(grid: Grid) -> Grid:
    """Give the grid of the same centre, spacing and shape whose axes are the nearest ones at right angles."""
    spacing = np.array(grid.spacing_mm)
    u, _, v = np.linalg.svd(grid.affine[:3, :3] / spacing)
    affine = np.eye(4)
    affine[:3, :3] = (u @ v) * spacing
    middle = (np.array(grid.shape)[:, None] - 1) / 2
    affine[:3, 3] = grid.to_world(middle)[:, 0] - affine[:3, :3] @ middle[:, 0]
    return Grid(grid.shape, affine)


def is_sheared(grid: Grid) -> bool:
    """Tell whether the axes are further from right angles than rounding takes them: beyond the tolerance."""
    return grid.largest_shift_mm(right_angled(grid)) > grid.tolerance_mm


def shear_degrees(grid: Grid) -> float:
    """The largest angle by which two axes differ from a right one, degrees."""
    axes = grid.affine[:3, :3] / np.array(grid.spacing_mm)
    cosines = np.abs(axes.T @ axes - np.eye(3)).max()
    return float(np.degrees(np.arcsin(min(1.0, float(cosines)))))


def covering_grid(grid: Grid) -> Grid:
    """Lay a right-angled grid over all voxels of a sheared one: nearest axes, same spacings, more voxels."""
    straight = right_angled(grid)
    places = straight.to_index(grid.to_world(grid.corners()))
    low = np.floor(places.min(axis=1) + 1e-6)
    shape = np.ceil(places.max(axis=1) - 1e-6) - low + 1
    affine = straight.affine.copy()
    affine[:3, 3] = straight.to_world(low[:, None])[:, 0]
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def settled_affine(
    header: Any, shape: tuple[int, ...], affine: NDArray[Any]
) -> tuple[NDArray[np.float64], list[str]]:
    """Decide what a NIfTI header means where it says nothing or contradicts itself.

    Args:
        header: header as it is in the file, not repaired.
        shape: voxels per axis.
        affine: affine as nibabel chooses it: sform, else qform, else from the spacings alone.

    Returns:
        Affine in mm, and a sentence per contradiction, which says what was assumed.
    """
    affine = np.asarray(affine, np.float64)
    notes: list[str] = []
    if len(shape) < 3 or not np.isfinite(affine).all():
        return affine, notes
    grid = Grid((shape[0], shape[1], shape[2]), affine)
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    if sform <= 0 and qform <= 0:
        notes.append(
            "the header does not say how the scan lies in the patient (sform and qform codes 0): assumed that the "
            "axes run to the patient's left, front and head"
        )
    elif sform > 0 and qform > 0:
        notes += _other_form(header, grid)
    pixdim = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    lengths = np.array(shape[:3]) - 1
    if (pixdim > 0).all() and np.isfinite(pixdim).all() and sform > 0:
        off = np.abs(pixdim - np.array(grid.spacing_mm)) * lengths
        if off.max() > grid.tolerance_mm:
            notes.append(
                f"pixdim says {_listed(pixdim)} mm, the affine {_listed(grid.spacing_mm)} mm: assumed the affine"
            )
    return _in_mm(header, affine, notes)


def _other_form(header: Any, grid: Grid) -> list[str]:
    try:
        qform = header.get_qform()
    except (ValueError, nib.spatialimages.HeaderDataError):
        return ["the qform is damaged: assumed the sform"]
    other = Grid(grid.shape, np.asarray(qform, np.float64))
    if not np.isfinite(other.affine).all():
        return ["the qform is damaged: assumed the sform"]
    if grid.same_as(other):
        return []
    apart = grid.largest_shift_mm(other)
    return [f"sform and qform put the voxels up to {apart:.3g} mm apart: assumed the sform"]


def _in_mm(
    header: Any, affine: NDArray[np.float64], notes: list[str]
) -> tuple[NDArray[np.float64], list[str]]:
    """Honour the unit where spacings are those of a scan in it; where they are only in mm, the unit is wrong."""
    unit = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7)
    if unit is None:
        return affine, notes
    name, factor = unit
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if ((spacing * factor > MIN_SPACING_MM) & (spacing * factor <= MAX_SPACING_MM)).all():
        scaled = affine.copy()
        scaled[:3] *= factor
        return scaled, [*notes, f"positions are in {name}: converted, spacing {_listed(spacing * factor)} mm"]
    if ((spacing > MIN_SPACING_MM) & (spacing <= MAX_SPACING_MM)).all():
        return affine, [
            *notes,
            f"the header says {name}, its spacing {_listed(spacing)} is one in mm: assumed mm",
        ]
    return affine, notes


def _listed(values: Any) -> str:
    return " x ".join(f"{float(value):.4g}" for value in values)


# Axes to the patient's right, front and head.
WORLD = Grid((1, 1, 1), np.eye(4))


def reoriented_grid(grid: Grid, like: Grid) -> Grid:
    """Turn and reverse the axes of a grid so that they run as those of another one; the lattice stays where it is.

    >>> flipped = Grid((4, 5, 6), np.diag([-1.0, 1.0, 1.0, 1.0]))
    >>> reoriented_grid(flipped, Grid((4, 5, 6), np.eye(4))).affine[0].tolist()
    [1.0, 0.0, 0.0, -3.0]
    """
    change = _change(grid, like)
    affine = grid.affine @ nib.orientations.inv_ornt_aff(change, grid.shape)
    shape = [0, 0, 0]
    for axis, (to, _) in enumerate(change):
        shape[int(to)] = grid.shape[axis]
    return Grid((shape[0], shape[1], shape[2]), np.asarray(affine, np.float64))


def reoriented(volume: Volume, like: Grid) -> Volume:
    """Turn and reverse the axes of a volume so that they run as those of a grid; no voxel moves in the world."""
    data = nib.orientations.apply_orientation(volume.data, _change(volume.grid, like))  # a view
    return Volume(data, reoriented_grid(volume.grid, like).affine)


def _change(grid: Grid, like: Grid) -> NDArray[np.float64]:
    """Give, per axis of the grid, the axis of the other one that it becomes and its direction, as nibabel has it."""
    own, other = (nib.orientations.io_orientation(g.affine) for g in (grid, like))
    return np.asarray(nib.orientations.ornt_transform(own, other), np.float64)


Extent = tuple[slice, ...]


def class_extents(labels: NDArray[Any]) -> dict[int, Extent]:
    """Find the smallest block of voxels that holds each class but the background.

    Args:
        labels: class indices `(i, j, k)`.

    Returns:
        Block by class index, ascending; classes that do not occur are left out.

    >>> import numpy as np
    >>> labels = np.zeros((4, 5, 6), np.uint8)
    >>> labels[1:3, 2, 4:] = 7
    >>> class_extents(labels)
    {7: (slice(1, 3, None), slice(2, 3, None), slice(4, 6, None))}
    """
    # Read in the order of memory: the axes of what comes from NIfTI run the other way about, at a quarter of the speed.
    turned = labels.flags.f_contiguous
    found = enumerate(ndimage.find_objects(labels.T if turned else labels), start=1)
    extents = {index: extent for index, extent in found if extent is not None}
    return {index: extent[::-1] for index, extent in extents.items()} if turned else extents
