"""The seven structures of MM-WHS, their codes, and the two modalities: the one place that knows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Modality(StrEnum):
    """Imaging modality of a subject; the network's stream `a` is CT and `b` is MR."""

    CT = "ct"
    MR = "mr"


@dataclass(frozen=True)
class Structure:
    """One labelled structure.

    Attributes:
        index: class index in the network, 1 to 7 (0 is background).
        code: value in the label maps of MM-WHS (Zhuang 2016).
        abbreviation: name in tables and metric files.
        name: name in text.
        colour: sRGB hex colour in every picture.

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

# One published MR label map holds 421 where 420 (LA) is meant.
STRAY_CODES = {421: 420}


def values_beyond(values: NDArray[np.generic], known: Sequence[int]) -> list[int | float]:
    """List the values, any shape, that are not among `known`, ascending."""
    # In the order of memory: NIfTI's runs the other way about, and numpy would copy all voxels first.
    return [value.item() for value in np.setdiff1d(np.unique(values.ravel(order="K")), known)]


def renamed(values: NDArray[np.generic], index_of: Mapping[int, int]) -> NDArray[np.uint8]:
    """Give each value, any shape, its class index; 0 where `index_of` has none."""
    # In the order of memory: assignment to `indices[values == value]` takes seconds where that is NIfTI's.
    # A plain array, though the values may be a file that is mapped into memory.
    indices = np.zeros_like(values, np.uint8, subok=False)
    for value, index in index_of.items():
        if index:
            np.copyto(indices, index, where=values == value)
    return indices


def unknown_codes(codes: NDArray[np.generic]) -> list[int | float]:
    """List the values of a label map that MM-WHS does not define, ascending (421 counts as known)."""
    known = [0, *STRAY_CODES, *(structure.code for structure in STRUCTURES)]
    return values_beyond(codes, known)


def to_indices(codes: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Turn MM-WHS codes into class indices 0 to 7, any shape; 421 counts as 420.

    Raises:
        ValueError: a value is not an MM-WHS code.

    >>> to_indices(np.array([0, 500, 205, 421])).tolist()
    [0, 1, 5, 3]
    """
    if unknown := unknown_codes(codes):
        raise ValueError(f"unknown label codes {unknown}; MM-WHS uses 0, 205, 420, 500, 550, 600, 820, 850")
    index_of = {structure.code: structure.index for structure in STRUCTURES}
    return renamed(codes, index_of | {stray: index_of[meant] for stray, meant in STRAY_CODES.items()})


def to_codes(indices: NDArray[np.generic]) -> NDArray[np.int16]:
    """Turn class indices 0 to 7 into MM-WHS codes, any shape."""
    table = np.zeros(NUM_CLASSES, np.int16)
    for structure in STRUCTURES:
        table[structure.index] = structure.code
    return table[indices.astype(np.intp)]
