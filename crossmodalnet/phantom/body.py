"""Evaluate the thorax around the mean heart, and a whole person on a grid, as signed distances."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.phantom.heart import BOX_MM, heart
from crossmodalnet.phantom.primitives import Field, ellipsoid, smooth_union
from crossmodalnet.phantom.shape import Sizes, SubjectShape
from crossmodalnet.phantom.vessels import long_vessels

RIB_PERIOD_MM = 27.0


def thorax(points: Field, sizes: Sizes) -> dict[str, Field]:
    """Compute signed distances `(n,)` of the structures around the heart at `(3, n)` in mean coordinates.

    `body` is the skin, `inside` the rib cage; `lungs` exclude the mediastinum but contain the heart.
    """
    x, y, z = points
    plane = points[:2]
    cage = ellipsoid(plane, (0, -14), (128 * sizes.chest, 95 * sizes.chest))
    inside = cage + 4
    back = ellipsoid(np.stack([np.abs(x), y]), (30, -120), (24, 18))  # paraspinal muscles
    floor = _diaphragm(x, y) + sizes.diaphragm_mm
    column = smooth_union(ellipsoid(plane, (0, -52), (27, 30)), ellipsoid(plane, (-4, 66), (9, 24)), 6)
    top = ellipsoid(plane, (2, -16), (38, 42)) + 0.9 * np.maximum(88 - z, 0)
    mediastinum = smooth_union(column, top, 10)
    abdomen = np.maximum(inside, z - floor)
    return {
        "body": cage - (16 + 20 * sizes.fat),
        "muscle": np.minimum(cage - 12, back),
        "inside": inside,
        "lungs": np.maximum(np.maximum(inside, floor - z), 3 - mediastinum),
        "abdomen": abdomen + 2,
        **_organs(points, abdomen + 5),
        **_bones(points, cage),
        "oesophagus": ellipsoid(plane, (3, -65), (8, 4.5)),
        "airways": _airways(points),
    }


def _diaphragm(x: Field, y: Field) -> Field:
    right = np.exp(-(((x - 66) / 52) ** 2) - ((y + 4) / 62) ** 2)
    left = np.exp(-(((x + 72) / 50) ** 2) - ((y + 4) / 62) ** 2)
    rim = (x / 128) ** 2 + ((y + 14) / 95) ** 2
    return -50 + 32 * right + 20 * left - 26 * rim


def _organs(points: Field, inside: Field) -> dict[str, Field]:
    x, _, z = points
    liver = np.maximum(inside, (-40 - x) * 0.8 + (-z - 60) * 0.35)
    belly = ellipsoid(points, (-64, 14, -78), (38, 42, 34))
    stomach = np.maximum(inside, belly)
    return {
        "liver": np.maximum(liver, 4 - belly),
        "stomach": stomach,
        "stomach_air": np.maximum(ellipsoid(points, (-66, 30, -68), (24, 22, 20)), stomach + 4),
        "spleen": np.maximum(inside, ellipsoid(points, (-92, -52, -74), (26, 34, 40))),
    }


def _bones(points: Field, cage: Field) -> dict[str, Field]:
    _, y, z = points
    # Ribs descend to the front; near the spine they are level.
    along = z + 0.5 * (y + 90)
    phase = along - RIB_PERIOD_MM * np.round(along * (1 / RIB_PERIOD_MM))
    rib = np.sqrt((cage - 2) ** 2 + (0.72 * phase) ** 2) - 4.6
    bony = np.maximum(rib, y - 58)
    level = z - RIB_PERIOD_MM * np.round((z + 6) * (1 / RIB_PERIOD_MM))
    plane = points[:2]
    vertebral = np.maximum(ellipsoid(plane, (0, -92), (20, 15.5)), np.abs(level + 6) - 11)
    arch = np.minimum(
        np.maximum(ellipsoid(plane, (0, -116), (15, 13)), -ellipsoid(plane, (0, -113), (9.5, 8))),
        np.maximum(ellipsoid(plane, (0, -132), (4, 14)), np.abs(level + 6) - 8),
    )
    wings = np.maximum(ellipsoid(plane, (0, -116), (34, 6)), np.abs(level) - 6)
    return {
        "ribs": bony,
        "marrow": bony + 2.2,
        "cartilage": np.maximum(rib, 58 - y),
        "sternum": np.maximum(ellipsoid(plane, (0, 84), (19, 6.5)), -45 - z),
        "vertebrae": np.minimum.reduce([vertebral, arch, wings]),
        "spongiosa": vertebral + 2.0,
        "discs": np.maximum(ellipsoid(plane, (0, -92), (19, 15)), 11 - np.abs(level + 6)),
        "canal": ellipsoid(plane, (0, -113), (8.5, 7)),
    }


def _airways(points: Field) -> Field:
    """Compute the trachea, and the main bronchi as oblique cylinders from the carina."""
    x, y, z = points
    trachea = np.maximum(ellipsoid(points[:2], (10, -46), (8, 8)), 58 - z)
    drop = np.where(x > 10, (x - 10) * 0.8, (10 - x) * 0.55)
    bronchi = np.sqrt((y + 47 + 0.12 * np.abs(x)) ** 2 + ((z - 58 + drop) * 0.82) ** 2) - 6
    return np.minimum(trachea, np.maximum(bronchi, np.abs(x - 6) - 46))


@dataclass(frozen=True)
class Body:
    """Signed distances at some points, mm."""

    mean_points: Field  # (3, n), mean coordinates
    thorax: dict[str, Field]  # (n,) each
    vessels: dict[str, Field]  # (n,) each
    near_heart: NDArray[np.intp]  # (m,) indices of the points within the heart's box
    heart: dict[str, Field]  # (m,) each, at those points

    def structures(self) -> NDArray[np.uint8]:
        """Label the points with class indices `(n,)`."""
        values = np.zeros(self.near_heart.shape, np.uint8)
        for structure in STRUCTURES:
            values[self.heart[structure.abbreviation] < 0] = structure.index
        labels = np.zeros(self.mean_points.shape[1], np.uint8)
        labels[self.near_heart] = values
        return labels


def body_at(points: Field, shape: SubjectShape) -> Body:
    """Evaluate a person's anatomy at n patient coordinates `(3, ...)`, mm."""
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
