"""Paint a person with tissue intensities and sample it on a scan's grid, slab by slab."""

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
# Connected pools are painted as one first, so that no seam shows between them.
HEART_ORDER = {
    "pericardium": "fat", "walls": "wall", "left_heart": "myocardium", "coronaries": "left", **VESSELS,
    "left_pool": "left", "right_pool": "right", "pulmonary_veins": "left", "pulmonary_branches": "pulmonary",
    "RA": "ra", "RV": "rv", "LA": "left", "Myo": "myocardium", "LV": "lv", "AO": "aorta", "PA": "pulmonary",
    "papillary": "myocardium", "trabeculae": "myocardium",
}  # fmt: skip


def paint_body(body: Body, tissue: Mapping[str, Field | float], width_mm: float) -> Field:
    """Paint n points with tissue intensities (numbers or fields `(n,)`; air a number), boundaries blurred."""
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


SLAB_POINTS = 100_000  # about forty distance fields fit the cache: halves the time of a whole grid


def render(
    scan: Scan,
    shape: SubjectShape,
    tissue: Mapping[str, Field | float],
    width_mm: float,
    slice_offsets: Sequence[float] = (0.0,),
    bias: Callable[[Field], Field] | None = None,
) -> tuple[Field, NDArray[np.uint8]]:
    """Paint a person on a grid; return intensities and class indices, each structure in one piece.

    Args:
        tissue: intensities, numbers or fields on the grid.
        slice_offsets: positions across a slice (in slices) to average; the middle one gives the labels.
        bias: factor `(n,)` on the intensities at mean coordinates `(3, n)`.
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
    """Split the first axis into slabs of about `SLAB_POINTS` points."""
    height = max(1, SLAB_POINTS // (shape[1] * shape[2]))
    for start in range(0, shape[0], height):
        yield slice(start, start + height)


def _drop_islands(labels: NDArray[np.uint8]) -> None:
    """Clear, in place, the voxels that sampling separates from a structure."""
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        pieces, num_pieces = ndimage.label(labels[box] == index)
        if num_pieces > 1:
            largest = np.bincount(pieces.ravel())[1:].argmax() + 1
            labels[box][(pieces > 0) & (pieces != largest)] = 0
