"""Paint a person with the intensities of one modality and sample it on a scan's grid, slab by slab."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crossmodalnet.phantom.body import Body, body_at
from crossmodalnet.phantom.primitives import Field, paint
from crossmodalnet.phantom.scanner import Scan
from crossmodalnet.phantom.shape import SubjectShape

# Body -> tissue, from back to front.
THORAX_ORDER = {
    "body": "fat", "muscle": "muscle", "inside": "fat", "lungs": "lung", "abdomen": "fat", "liver": "liver",
    "stomach": "stomach", "stomach_air": "air", "spleen": "spleen", "ribs": "cortex", "marrow": "marrow",
    "cartilage": "cartilage", "sternum": "marrow", "vertebrae": "cortex", "spongiosa": "marrow",
    "discs": "cartilage", "canal": "fluid",
}  # fmt: skip
VESSELS = {"ivc": "ivc", "svc": "svc", "descending_aorta": "aorta", "arch_branches": "aorta"}
# Pools that communicate are painted as one before each gets its own value, so that no seam shows between
# them.
HEART_ORDER = {
    "pericardium": "fat", "walls": "wall", "left_heart": "myocardium", "coronaries": "left", **VESSELS,
    "left_pool": "left", "right_pool": "right", "pulmonary_veins": "left", "pulmonary_branches": "pulmonary",
    "RA": "ra", "RV": "rv", "LA": "left", "Myo": "myocardium", "LV": "lv", "AO": "aorta", "PA": "pulmonary",
    "papillary": "myocardium", "trabeculae": "myocardium",
}  # fmt: skip


def paint_body(body: Body, tissue: Mapping[str, Field | float], width_mm: float) -> Field:
    """Give the intensities `(n,)` of a person at n points.

    Args:
        body: signed distances at the points.
        tissue: intensity of each tissue; a number, or a field `(n,)` over the points; a number for air.
        width_mm: width over which a boundary is blurred, mm.
    """
    image = np.full(body.mean_points.shape[1], tissue["air"])
    for name, kind in THORAX_ORDER.items():
        paint(image, body.thorax[name], tissue[kind], width_mm)
    for name, kind in VESSELS.items():
        paint(image, body.vessels[name], tissue[kind], width_mm)
    near = body.near_heart
    values = {kind: v if isinstance(v, float) else v[near] for kind, v in tissue.items()}
    heart = image[near]
    paint(heart, body.thorax["oesophagus"][near], values["muscle"], width_mm)
    for name, kind in HEART_ORDER.items():
        distance = body.vessels[name][near] if name in VESSELS else body.heart[name]
        paint(heart, distance, values[kind], width_mm)
    paint(heart, body.thorax["airways"][near] - 1.5, values["muscle"], width_mm)
    paint(heart, body.thorax["airways"][near], values["air"], width_mm)
    image[near] = heart
    return image


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
