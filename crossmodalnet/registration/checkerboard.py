"""A picture of a registration: fixed and moving image in alternating tiles, three planes."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.resample import sample_image
from crossmodalnet.imaging.volume import Grid, Volume

_TILE_MM = 24.0
_PIXEL_MM = 1.5
_VIEW_MM = 216.0
_MR_TINT = np.array([1.0, 0.82, 0.62])  # warm, so that the tiles can be told apart


def checkerboard(fixed: Volume, moved: Volume) -> NDArray[np.uint8]:
    """Tile a prepared CT (grey) with the warped prepared MR (warm), axial, coronal and sagittal side by side.

    The planes meet in the middle of the moved image's field of view: no label is used.

    Args:
        fixed: values 0 to 1.
        moved: values 0 to 1, on the same grid, 0 outside its field of view.

    Returns:
        `(rows, columns, 3)`.
    """
    inside = np.array(np.nonzero(moved.data > 0))
    index = inside.mean(axis=1) if inside.size else (np.array(fixed.data.shape) - 1) / 2
    centre = fixed.grid.to_world(index[:, None])[:, 0]
    gap = np.full((round(_VIEW_MM / _PIXEL_MM), 4, 3), 255, np.uint8)
    panels = [_panel(fixed, moved, centre, axis) for axis in (2, 1, 0)]
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


def write_checkerboard(path: Path, fixed: Volume, moved: Volume) -> None:
    """Write the picture as PNG."""
    from matplotlib.image import imsave

    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, checkerboard(fixed, moved), format="png", pil_kwargs={"optimize": True})


def _panel(fixed: Volume, moved: Volume, centre_mm: NDArray[np.float64], axis: int) -> NDArray[np.uint8]:
    """Draw the plane across world `axis`, radiological: patient right is left, anterior or head is up."""
    num = round(_VIEW_MM / _PIXEL_MM)
    shape = [num, num, num]
    shape[axis] = 1
    affine = np.diag([_PIXEL_MM, _PIXEL_MM, _PIXEL_MM, 1.0])
    affine[:3, 3] = centre_mm - _PIXEL_MM * (np.array(shape) - 1) / 2
    grid = Grid((shape[0], shape[1], shape[2]), affine)
    # In RAS, y or z falls down the rows; x grows towards the patient left, on the viewer right...
    a, b = (np.clip(sample_image(v, grid, 0.0).data.squeeze(axis).T[::-1], 0, 1) for v in (fixed, moved))
    if axis != 0:
        a, b = a[:, ::-1], b[:, ::-1]
    tile = round(_TILE_MM / _PIXEL_MM)
    rows, columns = np.indices(a.shape) // tile
    picture = np.where(((rows + columns) % 2 == 0)[..., None], a[..., None], b[..., None] * _MR_TINT)
    return np.asarray(np.rint(picture * 255), np.uint8)
