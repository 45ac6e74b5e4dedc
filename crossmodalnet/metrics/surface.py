"""Measure distances between the surfaces of two masks, in mm.

The surface of a mask is its voxels with a background neighbour across a face; outside the volume is background.
Distances are measured between voxel centres.
"""

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from crossmodalnet.metrics.overlap import Mask


class SurfaceDistances(NamedTuple):
    """Distance of every surface voxel of one mask to the nearest of the other, mm; forward starts at the prediction."""

    forward_mm: NDArray[np.float64]
    backward_mm: NDArray[np.float64]


NO_DISTANCES = SurfaceDistances(np.empty(0), np.empty(0))


def surface_distances(prediction: Mask, truth: Mask, spacing_mm: tuple[float, float, float]) -> SurfaceDistances:
    """Measure the surface distances of masks `(i, j, k)` in both directions.

    Raises:
        ValueError: the shapes differ, or a mask is empty: it has no surface.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"masks must have one shape, got {prediction.shape} and {truth.shape}")
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if not mask.any():
            raise ValueError(f"{name} must not be empty: an empty mask has no surface")
    (box,) = ndimage.find_objects((prediction | truth).astype(np.uint8))
    ours, theirs = (_surface(np.pad(mask[box], 1), spacing_mm) for mask in (prediction, truth))
    return SurfaceDistances(_distances(ours, theirs), _distances(theirs, ours))


def hd95_mm(distances: SurfaceDistances) -> float:
    """Compute the 95 % Hausdorff distance: the larger of the two directed 95th percentiles."""
    return float(max(np.percentile(d, 95) for d in distances))


def assd_mm(distances: SurfaceDistances) -> float:
    """Compute the average symmetric surface distance: the mean over the surface voxels of both masks."""
    return float(np.concatenate(distances).mean())


def nsd(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Compute the normalised surface Dice, 0 to 1: share of the surfaces within the tolerance.

    Counts surface voxels, where Nikolov et al. (2018) weigh surface elements by area.
    """
    both = np.concatenate(distances)
    # Distances have single precision: one equal to the tolerance counts as within it.
    return float((both <= tolerance_mm * (1 + 1e-6)).mean())


def diagonal_mm(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> float:
    """Compute the image diagonal, mm: stands for the distance to an empty mask."""
    return float(np.linalg.norm(np.multiply(shape, spacing_mm)))


def _surface(mask: Mask, spacing_mm: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask.transpose(2, 1, 0)).view(np.uint8))
    image.SetSpacing(spacing_mm)
    return sitk.LabelContour(image, fullyConnected=False)


def _distances(start: sitk.Image, end: sitk.Image) -> NDArray[np.float64]:
    field = sitk.SignedMaurerDistanceMap(end, squaredDistance=False, useImageSpacing=True)
    on_surface = sitk.GetArrayViewFromImage(start).astype(bool)
    # The signed field is zero on the surface itself, negative only by rounding.
    distances: NDArray[np.float64] = sitk.GetArrayViewFromImage(field)[on_surface].astype(np.float64)
    return np.maximum(distances, 0)
