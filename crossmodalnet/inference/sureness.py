"""How sure a prediction is of each structure: by its probabilities, and by what an ensemble agrees on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.structures import STRUCTURES


@dataclass(frozen=True)
class Sureness:
    """How sure a prediction is, by the abbreviation of the structure.

    Attributes:
        confidence: mean probability of the structure's voxels, 0 to 1; NaN where it is missing.
        agreement: Dice of the structure between two models, mean over the pairs of models; NaN of one model alone, and
            where none finds it.
    """

    confidence: dict[str, float]
    agreement: dict[str, float]


def sureness_of(members: Sequence[NDArray[np.float32]], mean: NDArray[np.float32]) -> Sureness:
    """Measure it on the working grid.

    Args:
        members: probabilities of each model `(num_classes, i, j, k)`.
        mean: mean of them.
    """
    return Sureness(_confidence(mean), _agreement(members))


def _confidence(probabilities: NDArray[np.float32]) -> dict[str, float]:
    classes = probabilities.argmax(axis=0)
    found = {}
    for structure in STRUCTURES:
        inside = classes == structure.index
        mean = float(probabilities[structure.index][inside].mean()) if inside.any() else float("nan")
        found[structure.abbreviation] = mean
    return found


def _agreement(members: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    classes = [member.argmax(axis=0) for member in members]
    found = {}
    for structure in STRUCTURES:
        masks = [found_by == structure.index for found_by in classes]
        sizes = [(int((a & b).sum()), int(a.sum()) + int(b.sum())) for a, b in combinations(masks, 2)]
        shares = [2 * both / total for both, total in sizes if total]
        found[structure.abbreviation] = float(np.mean(shares)) if shares else float("nan")
    return found
