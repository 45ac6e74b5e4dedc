"""Sampling a person on a scan's grid: intensities and label map, slab by slab."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crossmodalnet.phantom.body import body_at
from crossmodalnet.phantom.primitives import Field
from crossmodalnet.phantom.scanner import Scan
from crossmodalnet.phantom.shape import SubjectShape
from crossmodalnet.phantom.tissue import paint_body

# Some forty distance fields of a slab lie in memory at once; of this size they stay near the processor, which
# halves the time of a grid taken whole.
SLAB_POINTS = 100_000


def render(
    scan: Scan,
    shape: SubjectShape,
    tissue: Mapping[str, Field | float],
    width_mm: float,
    slice_offsets: Sequence[float] = (0.0,),
    bias: Callable[[Field], Field] | None = None,
) -> tuple[Field, NDArray[np.uint8]]:
    """Paint a person on a grid.

    Args:
        scan: the grid, and where the person lies in it.
        shape: the person.
        tissue: intensity of each tissue; a number, or a field on the grid.
        width_mm: width over which a boundary is blurred, mm.
        slice_offsets: places across a slice whose mean is the intensity, slices; the middle one gives the
            labels.
        bias: factor `(n,)` on the intensities at mean coordinates `(3, n)`.

    Returns:
        Intensities on the grid; class indices on the grid, each structure in one piece.
    """
    image, labels = np.empty(scan.grid.shape), np.empty(scan.grid.shape, np.uint8)
    for rows in _slabs(scan.grid.shape):
        bodies = [body_at(scan.patient_points(offset, rows), shape) for offset in slice_offsets]
        local = {name: v if isinstance(v, float) else v[rows].ravel() for name, v in tissue.items()}
        middle = bodies[len(bodies) // 2]
        painted = np.mean([paint_body(body, local, width_mm) for body in bodies], axis=0)
        if bias is not None:
            painted *= bias(middle.mean_points)
        image[rows] = painted.reshape(image[rows].shape)
        labels[rows] = middle.structures().reshape(labels[rows].shape)
    _drop_islands(labels)
    return image, labels


def _slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Parts of the first axis of about `SLAB_POINTS` points."""
    height = max(1, SLAB_POINTS // (shape[1] * shape[2]))
    for start in range(0, shape[0], height):
        yield slice(start, start + height)


def _drop_islands(labels: NDArray[np.uint8]) -> None:
    """Clear, in place, the single voxels that sampling leaves apart from a structure."""
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        pieces, num_pieces = ndimage.label(labels[box] == index)
        if num_pieces > 1:
            largest = np.bincount(pieces.ravel())[1:].argmax() + 1
            labels[box][(pieces > 0) & (pieces != largest)] = 0
