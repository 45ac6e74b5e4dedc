"""An image and its label map on one right-angled grid, as everything after the check of a cohort takes them to be."""

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.resample import straightened
from crossmodalnet.imaging.volume import Grid, Volume


def settled_image(image: Volume) -> Volume:
    """Give an image at right angles: as it is, or resampled where it is sheared."""
    return straightened(image, "linear", float(image.data.min()))


def settled_codes(codes: NDArray[np.int16], grid: Grid) -> Volume:
    """Give a label map on the very grid of its settled image.

    Args:
        codes: codes `(i, j, k)` of a label map that lies on its image within the tolerance of positions.
        grid: grid of the image, before it was settled.
    """
    return straightened(Volume(codes, grid.affine), "nearest")
