"""Check that label values mean the structures they are read as, and that a label map lies on its image."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crossmodalnet.imaging.codes import CODE_SETS, LabelCodes
from crossmodalnet.imaging.intensity import mutual_information, to_unit
from crossmodalnet.imaging.structures import STRUCTURES

# mL, far wider than adult hearts in any phase.
PLAUSIBLE_ML: Mapping[str, tuple[float, float]] = {
    "LV": (20, 600), "RV": (20, 600), "LA": (10, 600), "RA": (10, 600), "Myo": (20, 600),
    "AO": (3, 500), "PA": (3, 400),
}  # fmt: skip
# Share of the left ventricle's surface that lies in its myocardium: 0.6 to 0.9 in hearts.
MIN_ENCLOSED = 0.4
# Valve planes and walls: the first touches the second more than the third does.
NEIGHBOURS = (
    ("RV", ("Myo",), "LA"), ("RV", ("Myo",), "RA"), ("LA", ("LV", "Myo"), "RA"), ("RA", ("RV",), "LA"),
    ("AO", ("LV", "Myo"), "PA"), ("PA", ("RV",), "AO"),
)  # fmt: skip
# Vessels rise above the chambers. Quantiles of the heights that are compared: an aorta may be labelled down to the
# diaphragm, so its upper end counts, while a right atrium may hold some of the vein above it.
VESSELS, CHAMBERS = {"AO": 0.95, "PA": 0.5}, ("LV", "RV", "LA", "RA")
NOT_ENCLOSED = "Myo does not enclose LV"
UPSIDE_DOWN = "AO and PA lie below all chambers"
# Interval of the voxels that heights are measured at.
HEIGHT_MM = 3.0
# With more values it is no label map of structures, and touching values are not counted.
MAX_VALUES = 256
# Voxels per axis that image and label map are compared at.
COARSE = 48
# A label map that lies right has 1.25 to 3 times the mutual information of its copies moved by `NEAR_MM` (phantoms with
# noise, thick slices or no contrast; all structures); displaced, mirrored or another person's, it has at most 1.21.
NEAR_MM, FITS, FITS_CLEARLY = 10, 1.2, 1.3
# Least gain of mutual information by moving or turning it, nats and relative; moves that are tried along each axis, mm.
GAIN_NATS, GAIN_SHARE = 0.02, 0.2
MOVES_MM = (5, 10, 20, 30)
# Standard deviation of the filter against noise, in coarse voxels.
SMOOTHING = 0.7
# Fewer structures may fit less sharply, but better than their moved copies.
MANY_STRUCTURES, FEW_FIT = 4, 1.0
# Surface over that of a sphere of the same volume: at most 4.7 in sound phantoms (Myo in thick slices), 20 in noise.
MAX_SURFACE = 7.0
SIDES = ("left to right", "front to back", "top to bottom")


@dataclass
class ValueMap:
    """Content of a label map by value: volumes, mL, areas where two values touch, mm2, and heights.

    `heights_mm` has samples of each value's world z; it is empty where z is unknown.
    """

    volume_ml: dict[float, float] = field(default_factory=dict)
    touching_mm2: dict[tuple[float, float], float] = field(default_factory=dict)
    heights_mm: dict[float, list[NDArray[np.float64]]] = field(default_factory=dict)

    def area(self, some: Iterable[float], others: Iterable[float]) -> float:
        """Add up the areas where values of two groups touch."""
        wanted = set(others)
        return sum(self.touching_mm2.get((min(a, b), max(a, b)), 0.0) for a in some for b in wanted)

    def height_mm(self, some: Iterable[float], quantile: float) -> float:
        """Return a quantile of the world z of values, mm; NaN if it is unknown."""
        samples = [part for value in some for part in self.heights_mm.get(value, [])]
        return float(np.quantile(np.concatenate(samples), quantile)) if samples else math.nan


def measure_values(slabs: Iterable[NDArray[Any]], affine: NDArray[Any], *, has_axes: bool = True) -> ValueMap:
    """Measure values over slabs `(i, j, k)`, consecutive along the last axis; `affine` leads to RAS, mm.

    Without `has_axes`, its directions are only assumed, and heights mean nothing.
    """
    found = ValueMap()
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    last: NDArray[Any] | None = None
    depth = 0
    for slab in slabs:
        for value, count in zip(*np.unique(slab[np.isfinite(slab)], return_counts=True), strict=True):
            key = value.item()
            found.volume_ml[key] = found.volume_ml.get(key, 0.0) + int(count) * voxel_ml
        if slab.ndim == 3 and len(found.volume_ml) <= MAX_VALUES:
            whole = slab if last is None else np.concatenate([last, slab], axis=2)
            _add_touching(found, slab, whole, spacing_mm.tolist())
            last = slab[..., -1:]
            if has_axes:
                _add_heights(found, slab, affine[2], spacing_mm.tolist(), depth)
            depth += slab.shape[2]
    return found


def _add_heights(
    found: ValueMap, slab: NDArray[Any], row: NDArray[Any], spacing_mm: Sequence[float], depth: int
) -> None:
    i, j, k = (slice(None, None, max(1, int(HEIGHT_MM // spacing))) for spacing in spacing_mm)
    x, y, z = np.ogrid[: slab.shape[0], : slab.shape[1], depth : depth + slab.shape[2]]
    heights = (row[0] * x + row[1] * y + row[2] * z + row[3])[i, j, k]
    sampled = slab[i, j, k]
    for value in np.unique(sampled[np.isfinite(sampled) & (sampled != 0)]):
        found.heights_mm.setdefault(value.item(), []).append(heights[sampled == value])


def _add_touching(found: ValueMap, slab: NDArray[Any], whole: NDArray[Any], spacing_mm: Sequence[float]) -> None:
    for axis, values in enumerate((slab, slab, whole)):
        face_mm2 = float(np.prod(spacing_mm) / spacing_mm[axis])
        turned = np.moveaxis(values, axis, 0)
        a, b = turned[:-1], turned[1:]
        differs = a != b
        pairs = np.stack([a[differs], b[differs]])
        values, ranks = np.unique(pairs[:, np.isfinite(pairs).all(axis=0)], return_inverse=True)
        low, high = np.sort(ranks.reshape(2, -1), axis=0)
        counts = np.bincount(low * len(values) + high, minlength=len(values) ** 2)
        for place in np.flatnonzero(counts):
            key = values[place // len(values)].item(), values[place % len(values)].item()
            area = found.touching_mm2.get(key, 0.0)
            found.touching_mm2[key] = area + int(counts[place]) * face_mm2


def structure_volumes(values: ValueMap, codes: LabelCodes) -> dict[str, float]:
    """Return the volume of each structure that the label map holds, mL, by abbreviation."""
    volumes = {name: sum(values.volume_ml.get(code, 0.0) for code in listed) for name, listed in codes.codes.items()}
    return {name: volume for name, volume in volumes.items() if volume}


def contradictions(values: ValueMap, codes: LabelCodes) -> list[str]:
    """List the structures that touch other neighbours, or lie higher or lower, than in any heart."""
    held = structure_volumes(values, codes).keys()
    of = {name: listed for name, listed in codes.codes.items() if name in held}
    found = []
    if {"LV", "Myo"} <= held and not _is_enclosed(values, of["LV"], of["Myo"]):
        found.append(NOT_ENCLOSED)
    for name, neighbours, other in NEIGHBOURS:
        if {name, other, *neighbours} <= held:
            near = [code for neighbour in neighbours for code in of[neighbour]]
            if values.area(of[name], near) < values.area(of[other], near):
                found.append(f"{other} touches {' and '.join(neighbours)} more than {name} does")
    pairs = [(above, below) for above in VESSELS for below in CHAMBERS if {above, below} <= held]
    low = [
        f"{above} lies below {below}"
        for above, below in pairs
        if values.height_mm(of[above], VESSELS[above]) < values.height_mm(of[below], VESSELS[above])
    ]
    return [*found, *([UPSIDE_DOWN] if len(low) == len(VESSELS) * len(CHAMBERS) else low)]


def implausible_volumes(values: ValueMap, codes: LabelCodes) -> list[str]:
    """List the structures whose volume no adult heart has."""
    return [
        f"{name} {volume:.3g} mL (plausible: {low} to {high})"
        for name, volume in structure_volumes(values, codes).items()
        for low, high in [PLAUSIBLE_ML[name]]
        if not low <= volume <= high
    ]


def scattered(values: ValueMap, codes: LabelCodes) -> list[str]:
    """List the structures whose surface is far larger than that of any heart's."""
    found = []
    for name, volume_ml in structure_volumes(values, codes).items():
        own = codes.codes[name]
        sphere_mm2 = (36 * math.pi) ** (1 / 3) * (1000 * volume_ml) ** (2 / 3)
        if values.area(own, set(values.volume_ml) - set(own)) > MAX_SURFACE * sphere_mm2:
            found.append(name)
    return found


def _is_enclosed(values: ValueMap, inner: Sequence[int], outer: Sequence[int]) -> bool:
    """Check that one structure lies in another: that has the larger surface, and most of the inner's."""
    everything = set(values.volume_ml)
    inner_mm2, outer_mm2 = (values.area(own, everything - set(own)) for own in (inner, outer))
    return not inner_mm2 or (inner_mm2 < outer_mm2 and values.area(inner, outer) >= MIN_ENCLOSED * inner_mm2)


def known_reading(values: ValueMap, codes: LabelCodes) -> str | None:
    """Return the known data set (a value of `data.labels`) that the values fit, if `codes` is another."""
    present = np.array(list(values.volume_ml))
    for name, known in CODE_SETS.items():
        held = structure_volumes(values, known).keys()
        if known.title == codes.title or not {"LV", "Myo"} <= held or known.unknown(present):
            continue
        if not contradictions(values, known) and not implausible_volumes(values, known):
            return name
    return None


def misfit(image: NDArray[np.float32], labels: NDArray[np.uint8], affine: NDArray[Any]) -> str:
    """Say how class indices seem displaced or turned against their image (`affine`: RAS, mm); empty if they fit."""
    image = ndimage.gaussian_filter(image, SMOOTHING)
    own = labels.astype(np.float32) / max(1, labels.max())
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    near, *far = (
        [np.eye(3, dtype=int)[i] * sign * max(1, round(mm / spacing_mm[i])) for i in range(3) for sign in (1, -1)]
        for mm in (NEAR_MM, *MOVES_MM)
    )
    sharpness = _sharpness(image, own, near)
    turned = {
        (order, steps): own.transpose(order)[tuple(slice(None, None, step) for step in steps)]
        for order in permutations(range(3))
        if tuple(labels.shape[axis] for axis in order) == labels.shape
        for steps in product((1, -1), repeat=3)
    }
    order, steps = list(turned)[int(np.argmax(_informations(image, list(turned.values()))))]
    shift = np.zeros(3, int)
    for _ in range(3 if sharpness < FITS else 0):
        tried = [shift, *(shift + move for moves in far for move in moves)]
        shift = tried[int(np.argmax(_informations(image, [ndimage.shift(own, by, order=0) for by in tried])))]
    worlds = np.abs(affine[:3, :3]).argmax(axis=0)
    sides = " and ".join(SIDES[world] for world, step in zip(worlds, steps, strict=True) if step < 0)
    how = f"seems mirrored {sides}" if order == (0, 1, 2) else "seems turned, its axes exchanged,"
    size_mm = 5 * round(float(np.linalg.norm(shift * spacing_mm)) / 5)
    better = {how: turned[order, steps], f"seems displaced by about {size_mm} mm": ndimage.shift(own, shift, order=0)}
    best_sharpness, how = max((_sharpness(image, other, near), how) for how, other in better.items())
    given, best = _informations(image, [own, better[how]])
    if best_sharpness >= FITS_CLEARLY and best - given > max(GAIN_NATS, GAIN_SHARE * given):
        return f"{how} against its image"
    least = FITS if len(np.unique(labels[labels > 0])) >= MANY_STRUCTURES else FEW_FIT
    return "does not fit its image (another patient's?)" if sharpness < least else ""


def _informations(image: NDArray[np.float32], labels: Sequence[NDArray[np.float32]]) -> list[float]:
    """Return the mutual information of each of some label maps with an image, where one of them lies."""
    # The air around tells them apart less.
    seen = np.any([own > 0 for own in labels], axis=0)
    low, high = np.percentile(image[seen], (1, 99)) if seen.any() else (0.0, 0.0)
    if not low < high:
        return [0.0] * len(labels)
    grey = to_unit(image[seen], low, high)
    return [mutual_information(grey, own[seen]) for own in labels]


def _sharpness(image: NDArray[np.float32], labels: NDArray[np.float32], moves: Sequence[NDArray[np.int_]]) -> float:
    """Return the mutual information per that of moved copies; infinite if there is none."""
    own, *others = _informations(image, [labels, *(ndimage.shift(labels, by, order=0) for by in moves)])
    return own / float(np.mean(others)) if any(others) else math.inf


def exchanged_reading(values: ValueMap, codes: LabelCodes) -> tuple[str, str] | None:
    """Return the two structures, both there, whose exchange leaves no contradiction."""
    held = structure_volumes(values, codes)
    for a, b in combinations((s for s in STRUCTURES if s.abbreviation in held), 2):
        swapped = {a.index: b.index, b.index: a.index}
        indices = {code: swapped.get(index, index) for code, index in codes.indices.items()}
        if not contradictions(values, LabelCodes(codes.title, indices)):
            return a.abbreviation, b.abbreviation
    return None
