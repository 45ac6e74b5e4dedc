"""Measure a registration: mutual information, deformation, shared view, label overlap, and a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crossmodalnet.errors import resource_problem
from crossmodalnet.imaging.resample import sample_image
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.registration.ants import Transform, read_field, share_of_smaller, similarity, warp, write_translation

# Bounds of a plausible registration; the phantom's twenty pairs are within all three.
# A diffeomorphism folds no voxel; a thousandth exceeds rounding and tears structures visibly.
MAX_FOLDED_SHARE = 0.001
# About a voxel of a cardiac scan; the phantom's pairs have 0.05 to 0.07.
MAX_INVERSE_ERROR_MM = 1.0
# Below a half, most of one image has no partner; the phantom's pairs have 0.65 and more.
MIN_SHARED_VIEW = 0.5

_TILE_MM = 24.0
_PIXEL_MM = 1.5
_VIEW_MM = 216.0
_MR_TINT = np.array([1.0, 0.82, 0.62])  # warm, to tell the tiles apart


@dataclass(frozen=True)
class Quality:
    """Quality of one registration, measured on the working grid."""

    mi_before: float  # centres of mass aligned, nats
    mi_after: float  # nats
    negative_jacobian_share: float  # folded voxels
    largest_displacement_mm: float
    inverse_error_mm: float = 0.0  # mean distance by which the field and its inverse miss each other
    shared_view: float = 1.0  # share of the smaller field of view that the other one covers


class RegistrationError(RuntimeError):
    """The engine failed, or did not raise the mutual information enough."""


@dataclass(frozen=True)
class Alignment:
    """A registration that raised the mutual information enough."""

    transform: Transform  # from the CT's to the MR's world
    quality: Quality
    doubt: str  # a sentence for the user if the usual starts fitted far worse


def register_once(attempt: Callable[[], tuple[Transform, Quality]], min_gain: float) -> Alignment:
    """Run an engine and accept its result if that raises the mutual information by `min_gain`, nats."""
    try:
        transform, quality = attempt()
    except (RuntimeError, ValueError, OSError) as error:
        if resource_problem(error):
            raise
        raise RegistrationError(str(error)) from error
    if (gain := quality.mi_after - quality.mi_before) < min_gain:
        raise RegistrationError(f"MR and CT did not become more alike: mutual information {gain:+.4f} nats")
    doubt = (
        "had to begin where an exhaustive search fits best, because the usual starts fitted far worse: look at the "
        "picture; if MR and CT do not match, try another register.method (for predict, before the export)"
    )
    return Alignment(transform, quality, doubt if transform.start == "exhaustive" else "")


def implausible(quality: Quality) -> list[str]:
    """List signs of an implausible registration: folds, a poor inverse, little shared view."""
    folded, error_mm, view = quality.negative_jacobian_share, quality.inverse_error_mm, quality.shared_view
    problems = []
    if folded > MAX_FOLDED_SHARE:
        problems.append(f"it folds {folded:.2%} of the voxels onto others (plausible: at most {MAX_FOLDED_SHARE:.2%})")
    if error_mm > MAX_INVERSE_ERROR_MM:
        problems.append(
            f"there and back, points end {error_mm:.2f} mm from where they were (plausible: at most "
            f"{MAX_INVERSE_ERROR_MM:g} mm)"
        )
    if view < MIN_SHARED_VIEW:
        problems.append(f"MR and CT show only {view:.0%} of the smaller scan together (usual: {MIN_SHARED_VIEW:.0%})")
    return problems


def measure(fixed: Volume, moving: Volume, transform: Transform, folder: Path) -> Quality:
    """Measure a registration of prepared images (values 0 to 1); writes one small file to `folder`."""
    centres = folder / "centres.mat"
    write_translation(fixed, moving, "centre_of_mass", centres)
    before, after = (similarity(fixed, moving, files) for files in ([str(centres)], transform.files))
    view = shared_view(fixed, moving, transform)
    if transform.warp is None or transform.inverse_warp is None:
        return Quality(before, after, 0.0, 0.0, 0.0, view)
    folded, largest = deformation(transform.warp)
    error = inverse_error_mm(transform.warp, transform.inverse_warp)
    return Quality(before, after, folded, largest, error, view)


def shared_view(fixed: Volume, moving: Volume, transform: Transform) -> float:
    """Measure the share of the smaller field of view that the other one covers after registration, 0 to 1."""
    ones = Volume(np.ones_like(moving.data), moving.affine)
    seen = float((warp(ones, fixed.grid, transform.files, "linear").data > 0.5).mean())
    return share_of_smaller(seen, fixed, moving)


def inverse_error_mm(path: Path, inverse: Path) -> float:
    """Measure the mean distance, mm, by which a displacement field and its inverse miss each other.

    Both are ANTs fields on one grid. Points that the field moves out of the grid are left out.
    """
    stored, affine = read_field(path)
    forward, back = stored.astype(np.float64), read_field(inverse)[0].astype(np.float64)
    to_index = np.linalg.inv(affine[:3, :3])
    places = np.indices(forward.shape[:3]) + np.moveaxis(forward @ to_index.T, -1, 0)
    limits = np.array(forward.shape[:3])[:, None, None, None] - 1
    inside = ((places >= 0) & (places <= limits)).all(axis=0)
    if not inside.any():
        return 0.0
    returned = [
        ndimage.map_coordinates(back[..., axis], places[:, inside], order=1, mode="nearest") for axis in range(3)
    ]
    return float(np.linalg.norm(forward[inside] + np.stack(returned, axis=-1), axis=-1).mean())


def deformation(path: Path) -> tuple[float, float]:
    """Measure an ANTs field (LPS, mm): share of folded voxels (Jacobian at most 0), longest vector in mm."""
    stored, affine = read_field(path)
    field = stored.astype(np.float64)
    per_index = np.stack(np.gradient(field, axis=(0, 1, 2)), axis=-1)  # (i, j, k, 3, 3)
    jacobian = np.eye(3) + per_index @ np.linalg.inv(affine[:3, :3])
    folded = np.linalg.det(jacobian) <= 0
    return float(folded.mean()), float(np.linalg.norm(field, axis=-1).max())


def label_dice(warped: Volume, fixed: Volume) -> float:
    """Compute the mean Dice over the structures in either label map, on one grid; 0 where there are none."""
    scores = []
    for value in np.union1d(np.unique(warped.data), np.unique(fixed.data)):
        if value:
            a, b = warped.data == value, fixed.data == value
            total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
            scores.append(2 * int(np.count_nonzero(a & b)) / total)
    return float(np.mean(scores or [0.0]))


def checkerboard(fixed: Volume, moved: Volume) -> NDArray[np.uint8]:
    """Tile a prepared CT (grey) with the warped prepared MR (warm), axial, coronal and sagittal: `(rows, columns, 3)`.

    The planes meet in the centre of the moved image's field of view: no label is used.
    """
    inside = np.array(np.nonzero(moved.data > 0))
    index = inside.mean(axis=1) if inside.size else (np.array(fixed.data.shape) - 1) / 2
    centre = fixed.grid.to_world(index[:, None])[:, 0]
    gap = np.full((round(_VIEW_MM / _PIXEL_MM), 4, 3), 255, np.uint8)
    panels = [_panel(fixed, moved, centre, axis) for axis in (2, 1, 0)]
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


def write_checkerboard(path: Path, fixed: Volume, moved: Volume) -> None:
    """Write the checkerboard as PNG."""
    from matplotlib.image import imsave

    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, checkerboard(fixed, moved), format="png", pil_kwargs={"optimize": True})


def _panel(fixed: Volume, moved: Volume, centre_mm: NDArray[np.float64], axis: int) -> NDArray[np.uint8]:
    """Draw the plane across world `axis` in radiological convention, anterior or head up."""
    num = round(_VIEW_MM / _PIXEL_MM)
    shape = [num, num, num]
    shape[axis] = 1
    affine = np.diag([_PIXEL_MM, _PIXEL_MM, _PIXEL_MM, 1.0])
    affine[:3, 3] = centre_mm - _PIXEL_MM * (np.array(shape) - 1) / 2
    grid = Grid((shape[0], shape[1], shape[2]), affine)
    # In RAS, y or z decreases down the rows; x increases towards the patient's left, the viewer's right.
    a, b = (np.clip(sample_image(v, grid, 0.0).data.squeeze(axis).T[::-1], 0, 1) for v in (fixed, moved))
    if axis != 0:
        a, b = a[:, ::-1], b[:, ::-1]
    tile = round(_TILE_MM / _PIXEL_MM)
    rows, columns = np.indices(a.shape) // tile
    picture = np.where(((rows + columns) % 2 == 0)[..., None], a[..., None], b[..., None] * _MR_TINT)
    return np.asarray(np.rint(picture * 255), np.uint8)
