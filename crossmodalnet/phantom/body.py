"""A person at points of a grid: signed distances of heart and thorax in one place, and the structures."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.phantom.heart import BOX_MM, heart
from crossmodalnet.phantom.primitives import Field
from crossmodalnet.phantom.shape import SubjectShape
from crossmodalnet.phantom.thorax import thorax
from crossmodalnet.phantom.vessels import long_vessels


@dataclass(frozen=True)
class Body:
    """Signed distances at some points.

    Attributes:
        mean_points: `(3, n)` the points in mean coordinates, mm.
        thorax: `(n,)` each, mm.
        vessels: `(n,)` each, mm.
        near_heart: `(m,)` indices of the points within the heart's box.
        heart: `(m,)` each, mm, at those points.
    """

    mean_points: Field
    thorax: dict[str, Field]
    vessels: dict[str, Field]
    near_heart: NDArray[np.intp]
    heart: dict[str, Field]

    def structures(self) -> NDArray[np.uint8]:
        """Class indices `(n,)` of the points."""
        values = np.zeros(self.near_heart.shape, np.uint8)
        for structure in STRUCTURES:
            values[self.heart[structure.abbreviation] < 0] = structure.index
        labels = np.zeros(self.mean_points.shape[1], np.uint8)
        labels[self.near_heart] = values
        return labels


def body_at(points: Field, shape: SubjectShape) -> Body:
    """Evaluate a person's anatomy at patient coordinates `(3, ...)`, mm; n is the number of the points."""
    mean_points = shape.to_mean(points).reshape(3, -1)
    inside = np.ones(mean_points.shape[1], bool)
    for coordinate, (low, high) in zip(mean_points, BOX_MM, strict=True):
        inside &= (coordinate > low) & (coordinate < high)
    near_heart = np.flatnonzero(inside)
    return Body(
        mean_points=mean_points,
        thorax=thorax(mean_points, shape.sizes),
        vessels=long_vessels(mean_points, shape.sizes),
        near_heart=near_heart,
        heart=heart(mean_points[:, near_heart], shape.sizes),
    )
