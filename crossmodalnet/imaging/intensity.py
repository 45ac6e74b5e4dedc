"""Normalise CT and MR to the network's input in [0, 1], and compare such values."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.volume import Volume

# Bins per image of the joint histogram, here and in ANTs' Mattes metric.
NUM_BINS = 32


@dataclass(frozen=True)
class Intensity:
    """Ranges mapped to [0, 1]: CT window (HU), percentiles of non-zero MR voxels (0: outside the field)."""

    ct_window_hu: tuple[float, float]
    mr_percentiles: tuple[float, float]

    def __post_init__(self) -> None:
        low, high = self.ct_window_hu
        if not low < high:
            raise ValueError(f"ct_window_hu must ascend, got {self.ct_window_hu}")
        low, high = self.mr_percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"mr_percentiles must ascend within 0 and 100, got {self.mr_percentiles}")

    def mr_range(self, data: NDArray[np.floating]) -> tuple[float, float]:
        """Find the MR values that become 0 and 1; ValueError without contrast in the field of view."""
        inside = data[data != 0]
        low, high = np.percentile(inside, self.mr_percentiles) if inside.size else (0.0, 0.0)
        if not low < high:
            raise ValueError(f"MR has no contrast: its {self.mr_percentiles} percentiles are {low:g} and {high:g}")
        return float(low), float(high)


def stack_input(ct: Volume | None, mr: Volume | None, intensity: Intensity) -> NDArray[np.float32]:
    """Make the network's input `(2, i, j, k)`: CT (given in HU) and MR, both in [0, 1].

    A single image fills both channels, normalised by its own modality. ValueError for no image, different grids, values
    that are not finite, or an MR without contrast.

    >>> ct = Volume(np.array([[[-1000.0, 50.0, 300.0, 2000.0]]]), np.eye(4))
    >>> mr = Volume(np.array([[[0.0, 10.0, 20.0, 30.0]]]), np.eye(4))
    >>> stack_input(ct, mr, Intensity(ct_window_hu=(-200.0, 600.0), mr_percentiles=(0.0, 100.0))).tolist()
    [[[[0.0, 0.3125, 0.625, 1.0]]], [[[0.0, 0.0, 0.5, 1.0]]]]
    """
    if ct is not None and mr is not None and not ct.grid.same_as(mr.grid):
        raise ValueError(f"CT and MR must lie on one grid, got shapes {ct.data.shape} and {mr.data.shape}")
    images = [image for image in (ct, mr) if image is not None]
    if not images:
        raise ValueError("ct or mr must be an image, got None for both")
    if not all(np.isfinite(image.data).all() for image in images):
        raise ValueError("CT and MR must be finite, got NaN or infinite voxels")
    channels = [] if ct is None else [to_unit(ct.data, *intensity.ct_window_hu)]
    if mr is not None:
        channels.append(to_unit(mr.data, *intensity.mr_range(mr.data)))
    return np.stack([channels[0], channels[-1]])


def mutual_information(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Compute the mutual information of paired values `(n,)` in [0, 1]; nats, 0 for no values."""
    joint, _, _ = np.histogram2d(a, b, bins=NUM_BINS, range=((0, 1), (0, 1)))
    p = joint / max(joint.sum(), 1)
    independent = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    filled = p > 0
    return float((p[filled] * np.log(p[filled] / independent[filled])).sum())


def to_unit(data: NDArray[np.floating], low: float, high: float) -> NDArray[np.float32]:
    """Map values from `low` to `high` to 0 to 1; those beyond become 0 and 1."""
    return np.clip((data.astype(np.float32) - low) / (high - low), 0, 1).astype(np.float32)
