"""The structures of the heart, their codes, and the modalities."""

from crossmodalnet.labels.structures import (
    ABBREVIATIONS,
    NUM_CLASSES,
    STRAY_CODES,
    STRUCTURES,
    Modality,
    Structure,
    to_codes,
    to_indices,
    unknown_codes,
)

__all__ = [
    "ABBREVIATIONS",
    "NUM_CLASSES",
    "STRAY_CODES",
    "STRUCTURES",
    "Modality",
    "Structure",
    "to_codes",
    "to_indices",
    "unknown_codes",
]
