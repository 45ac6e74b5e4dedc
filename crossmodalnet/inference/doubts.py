"""What a reader of a prediction should look at: each doubt has a flag for programs and a sentence for people."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from crossmodalnet.imaging.geometry import SMALLEST_HEART_MM, is_sheared, shear_degrees
from crossmodalnet.imaging.inspect import unlike_modality
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.registration.quality import Quality, implausible
from crossmodalnet.roi.box import Box, FoundHeart, overflow_mm

# Mean Dice of the hearts of two atlases: 0.68 to 0.73 in CT and MR of the phantom's test subjects, 0.42 in noise.
AGREEMENT = 0.6
# Share of a structure's voxels that lie apart from its largest piece.
PIECES_SHARE = 0.1
# Mean probability of a structure's voxels: 0.92 and more in the phantom's test subjects, 0.69 to 0.87 in noise.
CONFIDENCE = 0.85
# mL. Far wider than hearts of adults, healthy or ill, in any phase: what lies outside is a fault of the scan's spacing,
# of its field of view or of the network.
PLAUSIBLE_ML: Mapping[str, tuple[float, float]] = {
    "LV": (20, 600), "RV": (20, 600), "LA": (10, 600), "RA": (10, 600), "Myo": (20, 600),
    "AO": (3, 500), "PA": (3, 400),
}  # fmt: skip
# How many times larger a structure may be in one scan than in the other: it fills and empties, but not by more.
VOLUME_RATIO = 3.0
# An image has at least hundreds of grey levels, a label map or a mask has a few.
FEWEST_LEVELS, LEVEL_SAMPLES = 16, 2**18


class Flag(StrEnum):
    """What kind of doubt it is."""

    INTENSITIES = "intensities"
    HEADER = "header"
    AXES = "axes"
    HEART_SEARCH = "heart_search"
    BOX = "box"
    REGISTRATION = "registration"
    MISSING = "structure_missing"
    PIECES = "structure_in_pieces"
    CUT = "heart_cut"
    VOLUME = "volume_implausible"
    CONFIDENCE = "low_confidence"
    WINDOWS = "smaller_windows"


@dataclass(frozen=True)
class Doubt:
    """One thing to look at.

    Attributes:
        flag: kind.
        says: sentence that names the scan or the structures.
    """

    flag: Flag
    says: str


def doubts_of_scan(volume: Volume, modality: Modality) -> list[Doubt]:
    """Say what makes an image look unlike its modality, or its voxels unlike a right-angled grid."""
    found = []
    step = max(1, round((volume.data.size / LEVEL_SAMPLES) ** (1 / 3)))
    if (num := len(np.unique(volume.data[::step, ::step, ::step]))) <= FEWEST_LEVELS:
        says = f"{modality.name} has {num} grey levels: is it a scan, or a label map or a mask?"
        found.append(Doubt(Flag.INTENSITIES, says))
    if odd := unlike_modality(float(volume.data.min()), float(volume.data.max()), modality):
        found.append(Doubt(Flag.INTENSITIES, ": ".join(odd)))
    if is_sheared(volume.grid):
        says = (
            f"{modality.name} has axes that are not at right angles, {shear_degrees(volume.grid):.1f} degrees off "
            "(gantry tilt?): segmented on a right-angled grid, and the label map brought back to the scan's own"
        )
        found.append(Doubt(Flag.AXES, says))
    return found


def doubts_of_header(notes: Sequence[str], modality: Modality) -> list[Doubt]:
    """Say what a header does not say or says twice, with what was assumed."""
    return [Doubt(Flag.HEADER, f"{modality.name}: {note}") for note in notes]


def doubts_of_heart(heart: FoundHeart) -> list[Doubt]:
    """Say whether the atlases put the heart to different places."""
    if heart.agreement >= AGREEMENT:
        return []
    says = (
        f"the atlases put the heart to places that overlap by {heart.agreement:.2f} (Dice): "
        "if the picture shows no heart, give its box"
    )
    return [Doubt(Flag.HEART_SEARCH, says)]


def doubts_of_registration(quality: Quality) -> list[Doubt]:
    """Say whether a registration made the scans no more alike, or is implausible as the pairs of a cohort can be."""
    found = []
    if quality.mi_after <= quality.mi_before:
        says = "registration made MR and CT no more alike than their centres laid together"
        found.append(Doubt(Flag.REGISTRATION, says))
    return found + [Doubt(Flag.REGISTRATION, f"registration: {what}") for what in implausible(quality)]


def doubts_of_box(box: Box, margin_mm: float, grid: Grid) -> list[Doubt]:
    """Say whether the heart box is smaller than any heart, or with its margin longer than the working grid."""
    if min(box.size_mm) < SMALLEST_HEART_MM:
        edges = " x ".join(f"{edge:.3g}" for edge in box.size_mm)
        return [Doubt(Flag.BOX, f"the heart box is {edges} mm: no heart is that small")]
    if (over := overflow_mm(box.grown(margin_mm), grid)) > 0:
        says = f"the heart box is {over:.0f} mm longer than what the network sees: parts may be cut off"
        return [Doubt(Flag.BOX, says)]
    return []


def doubts_of_windows(
    trained: Sequence[tuple[int, int, int]], used: Sequence[tuple[int, int, int]]
) -> list[Doubt]:
    """Say whether networks saw less at once than in their training, for lack of memory."""
    pairs = [(own, seen) for own, seen in zip(trained, used, strict=True) if own != seen]
    return [
        Doubt(
            Flag.WINDOWS,
            f"for lack of memory the network saw {' x '.join(map(str, seen))} voxels at once, "
            f"not {' x '.join(map(str, own))} as in its training: borders may be worse",
        )
        for own, seen in dict.fromkeys(pairs)
    ]


def doubts_of_labels(
    raw: Volume, cleaned: Volume, confidence: Mapping[str, float], depth_mm: float
) -> list[Doubt]:
    """Say what is doubtful of a label map.

    Args:
        raw: class indices as the network gives them.
        cleaned: class indices of the largest pieces.
        confidence: mean probability of each structure's voxels, by abbreviation; NaN where it is missing.
        depth_mm: how near to the edge of the scan counts as its edge: a voxel of the network's, whose outside it sees
            as air.
    """
    before, after = volumes_ml(raw), volumes_ml(cleaned)
    pieces, unsure = [], []
    for structure in STRUCTURES:
        name = structure.name
        if not before[name]:
            continue
        if (share := 1 - after[name] / before[name]) > PIECES_SHARE:
            pieces.append(f"{name} ({share:.0%} of it elsewhere)")
        if (mean := confidence[structure.abbreviation]) < CONFIDENCE:
            unsure.append(f"{name} ({mean:.2f})")
    return _doubts(
        (Flag.MISSING, "not found", _missing(before)),
        (Flag.PIECES, "in pieces", pieces),
        (Flag.CUT, "reaching the edge of the scan, so perhaps cut", _at_edge(cleaned, depth_mm)),
        (Flag.VOLUME, "of a volume that no heart of an adult has", _implausible(after)),
        (Flag.CONFIDENCE, "found with a low mean probability", unsure),
    )


def doubts_of_mr_labels(mr: Volume, ct: Volume, depth_mm: float) -> list[Doubt]:
    """Say what is doubtful of a label map that went back from the CT to the MR: it is no better than the registration.

    Args:
        mr: class indices on the MR's grid.
        ct: class indices on the CT's grid.
        depth_mm: how near to the edge of the scan counts as its edge.
    """
    here, there = volumes_ml(mr), volumes_ml(ct)
    unlike = [
        f"{name} ({volume:.1f} mL in the MR, {there[name]:.1f} in the CT)"
        for name, volume in here.items()
        if volume and there[name] and not 1 / VOLUME_RATIO <= volume / there[name] <= VOLUME_RATIO
    ]
    missing = [name for name in _missing(here) if there[name]]
    return _doubts(
        (Flag.MISSING, "not in the MR, though in the CT", missing),
        (Flag.CUT, "reaching the edge of the MR, so perhaps cut", _at_edge(mr, depth_mm)),
        (Flag.VOLUME, "in the MR of a volume that no heart of an adult has", _implausible(here)),
        (Flag.REGISTRATION, "registration: volumes in MR and CT are too far apart", unlike),
    )


def _doubts(*rows: tuple[Flag, str, Sequence[str]]) -> list[Doubt]:
    return [Doubt(flag, f"{words}: {', '.join(names)}") for flag, words, names in rows if names]


def volumes_ml(labels: Volume) -> dict[str, float]:
    """Measure the volume of each structure of a label map (class indices) in mL, by its name; 0 where it is missing."""
    counts = np.bincount(labels.data.ravel(), minlength=len(STRUCTURES) + 1)
    millilitre = abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000
    return {structure.name: float(counts[structure.index]) * millilitre for structure in STRUCTURES}


def _missing(volumes: Mapping[str, float]) -> list[str]:
    return [name for name, volume in volumes.items() if not volume]


def _implausible(volumes: Mapping[str, float]) -> list[str]:
    limits = {structure.name: PLAUSIBLE_ML[structure.abbreviation] for structure in STRUCTURES}
    return [
        f"{name} ({volume:.1f} mL)"
        for name, volume in volumes.items()
        if volume and not limits[name][0] <= volume <= limits[name][1]
    ]


def _at_edge(labels: Volume, depth_mm: float) -> list[str]:
    """Names of the structures that reach the edge of the scan."""
    found: set[int] = set()
    for axis, spacing in enumerate(labels.spacing_mm):
        depth = math.ceil(depth_mm / spacing)
        slabs = np.moveaxis(labels.data, axis, 0)
        found |= {int(index) for slab in (slabs[:depth], slabs[-depth:]) for index in np.unique(slab)}
    return [structure.name for structure in STRUCTURES if structure.index in found]
