"""Compute quality flags and confidence of a prediction."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crossmodalnet.imaging.anatomy import PLAUSIBLE_ML
from crossmodalnet.imaging.geometry import SMALLEST_HEART_MM, is_sheared, shear_degrees
from crossmodalnet.imaging.inspect import unlike_modality
from crossmodalnet.imaging.intensity import Intensity, mutual_information, stack_input
from crossmodalnet.imaging.structures import ABBREVIATIONS, STRUCTURES, Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.networks.common.card import PHANTOM
from crossmodalnet.registration.quality import Quality, implausible
from crossmodalnet.roi.box import MIN_ATLAS_AGREEMENT, USUAL_LIKENESS_SHARE, Box, RoiEstimate, overflow_mm

# Outside a structure's largest component.
MAX_PIECES_SHARE = 0.1
# Mean probability of a structure's voxels: at least 0.92 in the phantom's test subjects, 0.69 to 0.87 in noise.
MIN_CONFIDENCE = 0.85
# Of one structure in two scans, in different cardiac phases.
MAX_VOLUME_RATIO = 3.0
# Edge of the neighbourhoods of a local correlation, voxels, and the variance that counts as none.
NEIGHBOURHOOD, LEAST_VARIANCE = 5, 1e-3
# Share of the working grid that both scans cover; in less, a brain reached the likeness of hearts by chance (9 %).
MIN_COVERED = 0.25
# On a scale from 0, the likeness by chance, to 1, that of a training pair (least of 20: 0.78): an MR below the first in
# one measure is flagged, below the second in their mean rejected. See docs/results/prediction.md.
FLAGGED_LIKENESS, REJECTED_LIKENESS = 0.3, 0.15
# Of an MR alone: likeness to the CT atlases over that among them, flagged and rejected (phantoms of both scanners have
# 0.65 to 1.04, heads 0.25 to 0.32), and the agreement below which it is rejected (0.49 to 0.71, heads 0.15 to 0.39).
MR_ALONE_SHARES, MR_ALONE_AGREEMENT = (0.5, 0.35), 0.45
UNLIKE = "the MR does not look like what the model was trained on"
GIVE_BOX = ": if the preview shows no heart, give its ROI with --box"


class Flag(StrEnum):
    """Kind of a quality flag; what may cause others comes before them."""

    COHORT = "training_cohort"
    PATIENT = "patient"
    INTENSITIES = "intensities"
    HEADER = "header"
    AXES = "axes"
    ORIENTATION = "orientation"
    CUT = "heart_cut"
    HEART_SEARCH = "heart_search"
    BOX = "box"
    REGISTRATION = "registration"
    MR_UNLIKE = "mr_unlike"
    WINDOWS = "smaller_windows"
    MISSING = "structure_missing"
    PIECES = "structure_in_pieces"
    VOLUME = "volume_implausible"
    CONFIDENCE = "low_confidence"


class QualityFlag(NamedTuple):
    """One thing to check: its kind for programs, and a sentence that names the scan or the structures."""

    flag: Flag
    says: str


class Likeness(NamedTuple):
    """Similarity of CT and registered MR on the working grid; neither part depends on the MR's contrast."""

    mutual_information: float  # nats
    correlation: float  # mean squared local correlation


class TrainingLikeness(NamedTuple):
    """Likeness of the training pairs, and of the same pairs by chance: their MRs turned over."""

    pairs: Likeness
    chance: Likeness


def measure_likeness(ct: Volume, mr: Volume, intensity: Intensity) -> Likeness:
    """Measure the likeness of a pair on one grid where both scans have values; less if they share little of it."""
    both = (mr.data != 0) & (ct.data > ct.data.min())
    if not both.any():
        return Likeness(0.0, 0.0)
    a, b = (np.where(both, channel, 0).astype(np.float64) for channel in stack_input(ct, mr, intensity))
    share = np.maximum(_smoothed(both), 1e-9)
    mean_a, mean_b = _smoothed(a) / share, _smoothed(b) / share
    covariance = _smoothed(a * b) / share - mean_a * mean_b
    spread = [np.maximum(_smoothed(x * x) / share - m * m, 0) for x, m in ((a, mean_a), (b, mean_b))]
    correlation = covariance**2 / (spread[0] * spread[1] + LEAST_VARIANCE**2)
    # A thin rim can be alike by chance.
    enough = min(1.0, float(both.mean()) / MIN_COVERED)
    return Likeness(enough * mutual_information(a[both], b[both]), enough * float(correlation[both].mean()))


def _smoothed(data: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(ndimage.uniform_filter(data.astype(np.float64), NEIGHBOURHOOD, mode="constant"))


def training_likeness(pairs: Iterable[tuple[Volume, Volume]], intensity: Intensity) -> TrainingLikeness | None:
    """Summarise training pairs (CT, MR) by medians; None if their MRs are no more like their CTs than by chance.

    By chance an MR is as like its CT as the MR turned over along the axis for which that is highest.
    """
    rows = []
    for ct, mr in pairs:
        turned = [Volume(np.flip(mr.data, axis), mr.affine) for axis in range(3)]
        own, *others = (measure_likeness(ct, other, intensity) for other in (mr, *turned))
        rows.append((own, np.max(others, axis=0)))
    usual = TrainingLikeness(*(Likeness(*row) for row in np.median(rows or np.zeros((1, 2, 2)), axis=0).tolist()))
    return usual if all(high > low for high, low in zip(*usual, strict=True)) else None


def likeness_flags(found: Likeness, usual: TrainingLikeness, *, can_refuse: bool = True) -> list[QualityFlag]:
    """Flag an MR that is less like the CT than in training; ValueError if it is hardly more like it than by chance."""
    rows = (("", found), ("; the model's training pairs have ", usual.pairs), (", by chance ", usual.chance))
    numbers = "mutual information (nats) and squared local correlation round the heart are " + "".join(
        f"{words}{values.mutual_information:.2f} and {values.correlation:.2f}" for words, values in rows
    )
    places = [(x - low) / (high - low) for x, high, low in zip(found, *usual, strict=True)]
    if can_refuse and sum(places) / 2 < REJECTED_LIKENESS:
        raise ValueError(
            "the MR does not show the heart of this CT: another part of the body, or a registration that failed "
            f"({numbers}): look at both scans; if both show this patient's heart, give its ROI (--box)"
        )
    if min(places) < FLAGGED_LIKENESS:
        return [QualityFlag(Flag.MR_UNLIKE, f"{UNLIKE}, or its registration failed: {numbers}")]
    return []


def scan_flags(volume: Volume, modality: Modality) -> list[QualityFlag]:
    """Flag intensities that are unusual for the modality, and axes that are not at right angles."""
    flags = []
    if problem := unlike_modality(float(volume.data.min()), float(volume.data.max()), modality):
        flags.append(QualityFlag(Flag.INTENSITIES, ": ".join(problem)))
    if is_sheared(volume.grid):
        text = (
            f"{modality.name} has axes {shear_degrees(volume.grid):.1f} degrees off a right angle (gantry tilt?): "
            "it was segmented on a right-angled grid, and the label map resampled to the scan's own grid"
        )
        flags.append(QualityFlag(Flag.AXES, text))
    return flags


def check_exchanged(scans: Mapping[Modality, tuple[Volume, Mapping[str, str]]]) -> None:
    """Reject a CT and an MR that both look like the other modality, by DICOM's tags or else by values."""
    signs = []
    for modality, (volume, tags) in scans.items():
        header = tags.get("Modality")
        odd = unlike_modality(float(volume.data.min()), float(volume.data.max()), modality)
        others = {other.name for other in Modality} - {modality.name}
        if header in others:
            signs.append(f"DICOM says that the {modality.name} is {header}")
        elif odd and header != modality.name:
            signs.append(odd[0])
    if len(signs) > 1:
        raise ValueError(f"CT and MR seem to be exchanged ({'; '.join(signs)}): give --ct and --mr the other way round")


def cohort_flags(modality: Modality, tags: Mapping[str, str], cohorts: Sequence[str | None]) -> list[QualityFlag]:
    """Flag a scan of a real scanner, whose manufacturer is known, for models that only phantoms trained."""
    maker = tags.get("Manufacturer")
    if not maker or set(cohorts) != {PHANTOM}:
        return []
    text = f"{modality.name} is from a scanner ({maker[:40]}), but the model was trained on a {PHANTOM} alone"
    return [QualityFlag(Flag.COHORT, f"{text}: do not rely on the result, and train on real scans (docs/own_data.md)")]


def patient_flags(tags: Sequence[Mapping[str, str]]) -> list[QualityFlag]:
    """Flag scans whose DICOM tags contradict each other about the patient, without repeating them."""
    names = {"ID": "PatientID", "birth date": "PatientBirthDate", "sex": "PatientSex"}
    values = {name: {own[tag].casefold() for own in tags if tag in own} for name, tag in names.items()}
    differing = " and ".join(name for name, found in values.items() if len(found) > 1)
    text = f"CT and MR differ in the patient's {differing} (DICOM): are both scans of one person?"
    return [QualityFlag(Flag.PATIENT, text)] if differing else []


def heart_flags(heart: RoiEstimate, usual: float | None = None) -> list[QualityFlag]:
    """Flag a fault of orientation, atlases that disagree, or a place less like them than they are like one another."""
    if heart.fault:
        text = f"the CT looks like the model's training CTs if it is {heart.fault}: are the axes in its header right?"
        return [QualityFlag(Flag.ORIENTATION, text)]
    texts = []
    if heart.agreement < MIN_ATLAS_AGREEMENT:
        texts.append(f"the atlases put the heart to places that overlap by a Dice of {heart.agreement:.2f} only")
    if usual is not None and heart.likeness < USUAL_LIKENESS_SHARE * usual:
        texts.append(
            "the place of the heart is unlike the atlases, training CTs of this model: mutual information "
            f"{heart.likeness:.2f} nats, among the atlases {usual:.2f}"
        )
    return [QualityFlag(Flag.HEART_SEARCH, f"{', and '.join(texts)}{GIVE_BOX}")] if texts else []


@contextmanager
def explained(flags: Collection[QualityFlag]) -> Iterator[None]:
    """Add the flags so far to an error, and put doubtful headers and a doubtful heart before one that blames the MR."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        doubts = []
        if str(error).startswith("the MR"):
            doubts = [flag for flag in flags if flag.flag in (Flag.HEADER, Flag.HEART_SEARCH)]
            hearts = [flag.says.removesuffix(GIVE_BOX) for flag in doubts if flag.flag is Flag.HEART_SEARCH]
            causes = [flag.says for flag in doubts if flag.flag is Flag.HEADER]
            causes += [f"the CT may not show a heart ({'; '.join(hearts)})"] if hearts else []
            error.args = ("; or ".join([*causes, str(error)]),)
        for flag in flags:
            if flag not in doubts:
                error.add_note(f"look at this: {flag.says}")
        raise


def mr_alone_flags(heart: RoiEstimate, among: float | None) -> list[QualityFlag]:
    """Flag the place of the heart in an MR alone, as `heart_flags`, and an MR far from its likeness among CT atlases.

    ValueError if the MR shows no heart.
    """
    numbers = (
        f"around its heart, the mutual information with the model's CT atlases is {heart.likeness:.3f} nats, among the "
        f"atlases {among or 0:.3f}; they put the heart to places that overlap by a Dice of {heart.agreement:.2f}"
    )
    flagged, rejected = (among is not None and heart.likeness < share * among for share in MR_ALONE_SHARES)
    if rejected and heart.agreement < MR_ALONE_AGREEMENT:
        raise ValueError(f"the MR shows no heart ({numbers}): look at it; if it does, give the heart's ROI (--box)")
    unlike = [QualityFlag(Flag.MR_UNLIKE, f"{UNLIKE}: {numbers}")] if flagged else []
    return [*unlike, *heart_flags(heart)]


def registration_flags(quality: Quality, fault: str = "") -> list[QualityFlag]:
    """Flag an implausible registration, one without a gain in mutual information, and a fault of orientation."""
    problems = [f"registration: {problem}" for problem in implausible(quality)]
    if quality.mi_after < quality.mi_before:
        problems.insert(0, "registration made MR and CT no more alike than aligning their centres")
    text = f"the MR fits the CT better if it is {fault}: are the axes in both headers right? Look at both scans"
    return [
        *([QualityFlag(Flag.ORIENTATION, text)] if fault else []),
        *(QualityFlag(Flag.REGISTRATION, problem) for problem in problems),
    ]


def roi_flags(box: Box, margin_mm: float, grid: Grid) -> list[QualityFlag]:
    """Flag an ROI smaller than any heart, or larger (with its margin) than the working grid."""
    if min(box.size_mm) < SMALLEST_HEART_MM:
        edges = " x ".join(f"{edge:.3g}" for edge in box.size_mm)
        return [QualityFlag(Flag.BOX, f"the heart ROI is {edges} mm: no heart is that small")]
    if (overflow := overflow_mm(box.grown(margin_mm), grid)) > 0:
        text = f"the heart ROI is {overflow:.0f} mm longer than the network's field of view: parts may be cut off"
        return [QualityFlag(Flag.BOX, text)]
    return []


def window_flags(trained: Sequence[tuple[int, int, int]], used: Sequence[tuple[int, int, int]]) -> list[QualityFlag]:
    """Flag networks with smaller windows than in training, for lack of memory."""
    changes = dict.fromkeys(pair for pair in zip(trained, used, strict=True) if pair[0] != pair[1])
    return [
        QualityFlag(
            Flag.WINDOWS,
            f"for lack of memory the network saw {' x '.join(map(str, now))} voxels at once, "
            f"not {' x '.join(map(str, before))} as in training: borders may be worse",
        )
        for before, now in changes
    ]


def label_flags(
    raw: Volume,
    cleaned: Volume,
    confidence: Mapping[str, float],
    depth_mm: float,
    learnt: Collection[str] = ABBREVIATIONS,
) -> list[QualityFlag]:
    """Flag structures that are missing, in pieces, cut, implausible or of low confidence.

    Args:
        raw: class indices of the network.
        cleaned: class indices of the largest components.
        depth_mm: distance to the scan's edge that counts as the edge: a voxel of the working grid.
        learnt: abbreviations of the structures that the training cohort delineates; others are not missed.
    """
    before, after = volumes_ml(raw), volumes_ml(cleaned)
    pieces, uncertain = [], []
    missing = [s.name for s in STRUCTURES if s.abbreviation in learnt and not before[s.name]]
    for structure in STRUCTURES:
        name = structure.name
        if not before[name]:
            continue
        if (share := 1 - after[name] / before[name]) > MAX_PIECES_SHARE:
            pieces.append(f"{name} ({share:.0%} of it elsewhere)")
        if (mean := confidence[structure.abbreviation]) < MIN_CONFIDENCE:
            uncertain.append(f"{name} ({mean:.2f})")
    return _listed(
        (Flag.MISSING, "not found", missing),
        (Flag.PIECES, "in pieces", pieces),
        (Flag.CUT, "the scan may not hold all of the heart; at its edge lie", _at_edge(cleaned, depth_mm)),
        (Flag.VOLUME, "of a volume that no adult heart has", _implausible(after)),
        (Flag.CONFIDENCE, "found with a low mean probability", uncertain),
    )


def mr_label_flags(mr: Volume, ct: Volume, depth_mm: float) -> list[QualityFlag]:
    """Flag structures of class indices that were resampled from the CT to the MR's grid."""
    mr_ml, ct_ml = volumes_ml(mr), volumes_ml(ct)
    differing = [
        f"{name} ({volume:.1f} mL in the MR, {ct_ml[name]:.1f} in the CT)"
        for name, volume in mr_ml.items()
        if volume and ct_ml[name] and not 1 / MAX_VOLUME_RATIO <= volume / ct_ml[name] <= MAX_VOLUME_RATIO
    ]
    missing = [name for name, volume in mr_ml.items() if not volume and ct_ml[name]]
    return _listed(
        (Flag.MISSING, "not in the MR, though in the CT", missing),
        (Flag.CUT, "the MR may not hold all of the heart; at its edge lie", _at_edge(mr, depth_mm)),
        (Flag.VOLUME, "in the MR of a volume that no adult heart has", _implausible(mr_ml)),
        (Flag.REGISTRATION, "registration: volumes in MR and CT are too far apart", differing),
    )


def volumes_ml(labels: Volume) -> dict[str, float]:
    """Measure the volume of each structure (class indices) in mL, by its name; 0 if missing."""
    counts = np.bincount(labels.data.ravel(), minlength=len(STRUCTURES) + 1)
    millilitre = abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000
    return {structure.name: float(counts[structure.index]) * millilitre for structure in STRUCTURES}


def mean_confidence(probabilities: NDArray[np.float32]) -> dict[str, float]:
    """Average the probability `(num_classes, i, j, k)` over each structure's voxels; NaN if missing."""
    classes = probabilities.argmax(axis=0)
    confidence = {}
    for structure in STRUCTURES:
        inside = classes == structure.index
        mean = float(probabilities[structure.index][inside].mean()) if inside.any() else math.nan
        confidence[structure.abbreviation] = mean
    return confidence


def ensemble_agreement(members: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """Average structures' Dice over pairs of `(num_classes, i, j, k)` probabilities; NaN without any."""
    classes = [member.argmax(axis=0) for member in members]
    agreement = {}
    for structure in STRUCTURES:
        masks = [labels == structure.index for labels in classes]
        sizes = [(int((a & b).sum()), int(a.sum()) + int(b.sum())) for a, b in combinations(masks, 2)]
        dices = [2 * both / total for both, total in sizes if total]
        agreement[structure.abbreviation] = float(np.mean(dices)) if dices else math.nan
    return agreement


def _listed(*rows: tuple[Flag, str, Sequence[str]]) -> list[QualityFlag]:
    return [QualityFlag(flag, f"{words}: {', '.join(names)}") for flag, words, names in rows if names]


def _implausible(volumes: Mapping[str, float]) -> list[str]:
    limits = {structure.name: PLAUSIBLE_ML[structure.abbreviation] for structure in STRUCTURES}
    return [
        f"{name} ({volume:.1f} mL)"
        for name, volume in volumes.items()
        if volume and not limits[name][0] <= volume <= limits[name][1]
    ]


def _at_edge(labels: Volume, depth_mm: float) -> list[str]:
    """List the structures that reach the edge of the scan."""
    indices: set[int] = set()
    for axis, spacing in enumerate(labels.spacing_mm):
        depth = math.ceil(depth_mm / spacing)
        slabs = np.moveaxis(labels.data, axis, 0)
        indices |= {int(index) for slab in (slabs[:depth], slabs[-depth:]) for index in np.unique(slab)}
    return [structure.name for structure in STRUCTURES if structure.index in indices]
