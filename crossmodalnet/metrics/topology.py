"""Count components (26 neighbours), handles and cavities (6 neighbours) of masks, and their errors."""

import numpy as np
from scipy import ndimage
from skimage.measure import euler_number

from crossmodalnet.metrics.overlap import Mask

BettiNumbers = tuple[int, int, int]
ABSENT: BettiNumbers = (0, 0, 0)


def betti_numbers(mask: Mask) -> BettiNumbers:
    """Count the components (b0), handles (b1) and cavities (b2) of a mask `(i, j, k)`.

    `b1 = b0 + b2 - chi` with the Euler number chi. A ball has (1, 0, 0), a solid torus (1, 1, 0), a hollow ball
    (1, 0, 1), an empty mask (0, 0, 0).

    Raises:
        ValueError: the mask is not three-dimensional.
    """
    if mask.ndim != 3:
        raise ValueError(f"mask must have three axes, got shape {mask.shape}")
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return ABSENT
    # The margin joins the background outside to one component, which is not a cavity.
    padded = np.pad(mask[boxes[0]], 1)
    pieces = _num_components(padded, connectivity=3)
    cavities = _num_components(~padded, connectivity=1) - 1
    return pieces, pieces + cavities - int(euler_number(padded, connectivity=3)), cavities


def betti_error(prediction: Mask, truth: Mask) -> int:
    """Sum the absolute differences of b0, b1 and b2 between two masks `(i, j, k)`, wherever the components lie.

    Raises:
        ValueError: the shapes differ, or are not three-dimensional.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"masks must have one shape, got {prediction.shape} and {truth.shape}")
    return sum(abs(p - t) for p, t in zip(betti_numbers(prediction), betti_numbers(truth), strict=True))


def stray_components(mask: Mask) -> int:
    """Count the components of a mask `(i, j, k)` beyond the first one."""
    return max(0, _num_components(mask, connectivity=3) - 1)


def _num_components(mask: Mask, connectivity: int) -> int:
    return int(ndimage.label(mask, ndimage.generate_binary_structure(3, connectivity))[1])
