"""Define the seven structures of MM-WHS with their codes, and the two modalities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Modality(StrEnum):
    """Imaging modality of a subject; the network's stream `a` is CT and `b` is MR."""

    CT = "ct"
    MR = "mr"


def accepted_inputs(
    network: Mapping[str, Any], train: Mapping[str, Any], adaptation: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """Return the inputs that a model segments, by sections of its card: `CT + MR`, and `CT` or `MR` alone."""
    streams = network.get("streams", "both")
    if adaptation and adaptation.get("scenario") in ("ct_to_mr", "mr_to_ct"):
        return ("CT", "MR")
    if streams != "both":
        return ("CT + MR", streams.upper())
    return ("CT + MR", "CT", "MR") if train.get("modality_dropout", 0) > 0 else ("CT + MR",)


def excluded(accepted: Sequence[str], ct: object, mr: object) -> str:
    """Say why a model does not segment these scans, None for one that is not given; empty if it does."""
    given = " + ".join(name for name, scan in (("CT", ct), ("MR", mr)) if scan is not None) or "no scan"
    remedy = "give what it takes, or a model trained with train.modality_dropout"
    return "" if given in accepted else f"this model segments {' or '.join(accepted)}, got {given}: {remedy}"


@dataclass(frozen=True)
class Structure:
    """One structure: class index 1 to 7, MM-WHS code (Zhuang 2016), sRGB hex colour in pictures.

    >>> [(structure.index, structure.abbreviation) for structure in STRUCTURES[:3]]
    [(1, 'LV'), (2, 'RV'), (3, 'LA')]
    """

    index: int
    code: int
    abbreviation: str
    name: str
    colour: str


STRUCTURES: tuple[Structure, ...] = (
    Structure(1, 500, "LV", "left ventricle blood cavity", "#d62728"),
    Structure(2, 600, "RV", "right ventricle blood cavity", "#1f77b4"),
    Structure(3, 420, "LA", "left atrium blood cavity", "#ff7f0e"),
    Structure(4, 550, "RA", "right atrium blood cavity", "#17becf"),
    Structure(5, 205, "Myo", "myocardium of the left ventricle", "#2ca02c"),
    Structure(6, 820, "AO", "ascending aorta", "#e377c2"),
    Structure(7, 850, "PA", "pulmonary artery", "#9467bd"),
)
ABBREVIATIONS: tuple[str, ...] = tuple(structure.abbreviation for structure in STRUCTURES)
NUM_CLASSES = len(STRUCTURES) + 1

# One published MR label map contains 421 instead of 420 (LA).
STRAY_CODES = {421: 420}


def to_codes(indices: NDArray[np.generic]) -> NDArray[np.int16]:
    """Convert class indices 0 to 7 to MM-WHS codes, any shape."""
    table = np.array([0, *(structure.code for structure in STRUCTURES)], np.int16)
    return table[indices.astype(np.intp)]
