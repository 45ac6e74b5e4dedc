"""Connected components of a label map."""

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from crossmodalnet.imaging.geometry import class_extents


def keep_largest_component(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keep the largest connected component of every structure; the rest becomes background.

    Each structure of the heart is one piece. Voxels that share a face, an edge or a corner are connected; of
    two components of the same size the first in array order stays.

    Args:
        labels: class indices `(i, j, k)`.

    Returns:
        Class indices of the same shape.
    """
    kept = labels.copy()
    for index, extent in class_extents(labels).items():
        mask = labels[extent] == index
        kept[extent][mask & ~_largest(mask)] = 0
    return kept


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    components = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True))
    sizes = np.bincount(components.ravel())
    sizes[0] = 0  # background
    return np.asarray(components == sizes.argmax(), np.bool_)
