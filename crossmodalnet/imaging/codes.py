"""Map label values to structures: MM-WHS, other known data sets, and your own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.structures import ABBREVIATIONS, STRAY_CODES, STRUCTURES

BACKGROUND = "background"
# Largest rounding error of label maps that were saved as float or scaled.
WHOLE_TOLERANCE = 1e-3


def whole_values(values: NDArray[np.generic]) -> NDArray[Any]:
    """Round values within 0.001 of a whole number; keep others.

    >>> whole_values(np.array([204.99998, 205.00003, 419.5])).tolist()
    [205.0, 205.0, 419.5]
    """
    if values.dtype.kind != "f":
        return values
    rounded = np.rint(values)
    return np.where(np.abs(values - rounded) <= WHOLE_TOLERANCE, rounded, values)


@dataclass(frozen=True)
class LabelCodes:
    """Values of label maps and the structures they stand for; `title` names the codes in messages.

    Attributes:
        indices: class index 0 to 7 by value; known values of other structures have 0.
        missing: abbreviations of structures that the data set does not delineate.
    """

    title: str
    indices: Mapping[int, int]
    missing: tuple[str, ...] = ()

    @property
    def codes(self) -> dict[str, list[int]]:
        """Return the values by abbreviation, for structures that have any."""
        codes = {
            s.abbreviation: sorted(code for code, index in self.indices.items() if index == s.index) for s in STRUCTURES
        }
        return {name: values for name, values in codes.items() if values}

    def unknown(self, values: NDArray[np.generic]) -> list[int | float]:
        """List the values without a meaning, ascending."""
        # In memory order (NIfTI: Fortran), because numpy would copy all voxels first.
        return [value.item() for value in np.setdiff1d(np.unique(values.ravel(order="K")), list(self.indices))]

    def to_indices(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Convert values to class indices 0 to 7, any shape; ValueError for an unknown value.

        >>> MMWHS.to_indices(np.array([0, 500, 205, 421])).tolist()
        [0, 1, 5, 3]
        """
        values = whole_values(values)
        if unknown := self.unknown(values):
            raise ValueError(f"unknown label codes {unknown}; {self.title} uses {self.listed}")
        return self.known_indices(values)

    def known_indices(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Convert whole values to class indices 0 to 7, any shape; unknown ones become background."""
        # `copyto` keeps the memory order: `indices[values == value]` takes seconds on Fortran order.
        # `subok=False`: the values may be a memory map.
        indices = np.zeros_like(values, np.uint8, subok=False)
        for value, index in self.indices.items():
            if index:
                np.copyto(indices, index, where=values == value)
        return indices

    @property
    def meaning(self) -> str:
        """Describe the values of each structure."""
        values = (f"{name} {'/'.join(map(str, codes))}" for name, codes in self.codes.items())
        return f"label values ({self.title}): {', '.join(values)}"

    @property
    def listed(self) -> str:
        """List the values of background and structures, for messages."""
        codes = sorted({code for codes in self.codes.values() for code in codes} - set(STRAY_CODES))
        return ", ".join(map(str, [0, *codes]))

    def without(self, missing: Sequence[str]) -> "LabelCodes":
        """Read more structures as background; ValueError if one is unknown or none remains."""
        if unknown := sorted(set(missing) - set(ABBREVIATIONS)):
            raise ValueError(f"unknown structure {', '.join(unknown)}; known: {', '.join(ABBREVIATIONS)}")
        dropped = {*missing, *self.missing}
        if dropped == set(ABBREVIATIONS):
            raise ValueError("every structure is missing: nothing is left to segment")
        background = {s.index for s in STRUCTURES if s.abbreviation in dropped}
        indices = {code: 0 if index in background else index for code, index in self.indices.items()}
        return replace(self, indices=indices, missing=tuple(s for s in ABBREVIATIONS if s in dropped))


def own_codes(mapping: Mapping[str, int | Sequence[int]], title: str = "data.labels") -> LabelCodes:
    """Make codes from values by structure (see `structure_named`); structures not listed are missing.

    `background` lists values of other structures. ValueError for unknown structures, ambiguous values, or no structure.

    >>> own_codes({"LV": 1, "myocardium": [2, 3], "background": 9}).missing
    ('RV', 'LA', 'RA', 'AO', 'PA')
    """
    indices = {0: 0}
    for name, values in mapping.items():
        index = 0 if name.lower() == BACKGROUND else structure_named(name)
        if index is None:
            known = ", ".join((*ABBREVIATIONS, BACKGROUND))
            raise ValueError(f"unknown structure {name!r}; known: {known}")
        for value in [values] if isinstance(values, int) else values:
            if value in indices and (value or index):
                raise ValueError(f"value {value} of {name} has another meaning already")
            indices[value] = index
    missing = [s.abbreviation for s in STRUCTURES if s.index not in indices.values()]
    return LabelCodes(title, indices).without(missing)


_FILLERS = {"heart", "cardiac", "blood", "cavity", "pool", "chamber", "the", "of", "label", "main"}
_SPELLINGS = {
    "LV": ("lv", "lvc", "lvbp", "left ventricle", "ventricle left"),
    "RV": ("rv", "rvc", "rvbp", "right ventricle"),
    "LA": ("la", "lac", "left atrium"),
    "RA": ("ra", "rac", "right atrium"),
    "Myo": ("myo", "lvm", "lvmyo", "myocardium", "left ventricle myocardium", "left ventricular myocardium",
            "lv myocardium", "lv myo", "left ventricle myo"),
    "AO": ("ao", "aa", "aorta", "ascending aorta"),
    "PA": ("pa", "pulmonary artery", "pulmonary trunk", "pulmonary arteries"),
}  # fmt: skip


def structure_named(name: str) -> int | None:
    """Return the class index of a structure's name, None if unknown; ignores case, order, punctuation.

    >>> [structure_named(name) for name in ("heart_ventricle_left", "LV myocardium", "descending aorta")]
    [1, 5, None]
    """
    words = frozenset(re.findall(r"[a-z]+|\d+", name.lower())) - _FILLERS
    for structure in STRUCTURES:
        if any(words == frozenset(spelling.split()) for spelling in _SPELLINGS[structure.abbreviation]):
            return structure.index
    return None


def _totalsegmentator_v1() -> dict[str, int | Sequence[int]]:
    structures = {"Myo": 44, "LA": 45, "LV": 46, "RA": 47, "RV": 48, "PA": 49, "AO": 7}
    others = [code for code in range(1, 105) if code not in structures.values()]
    return {**structures, BACKGROUND: others}


_CODES = {0: 0, **{structure.code: structure.index for structure in STRUCTURES}}
MMWHS = LabelCodes("MM-WHS", _CODES | {stray: _CODES[meant] for stray, meant in STRAY_CODES.items()})
# TotalSegmentator: `class_map` in totalsegmentator/map_to_binary.py (wasserth/TotalSegmentator). The chambers are
# classes of the task heartchambers_highres, and up to version 1 of the task total (`total_v1`).
CODE_SETS: dict[str, LabelCodes] = {
    "mmwhs": MMWHS,
    "index": own_codes({s.abbreviation: s.index for s in STRUCTURES}, "class indices"),
    "totalsegmentator": own_codes(
        {"Myo": 1, "LA": 2, "LV": 3, "RA": 4, "RV": 5, "AO": 6, "PA": 7}, "TotalSegmentator heartchambers_highres"
    ),
    "totalsegmentator_v1": own_codes(_totalsegmentator_v1(), "TotalSegmentator 1 total"),
}
