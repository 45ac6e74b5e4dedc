"""Landmarks of the mean heart in RAS mm, the heart about the origin, drawn at full adult size.

The ventricles live in the frame of the LV's long axis: `s` from the LV to the RV, `t` across (mostly
upwards), `w` from the mitral plane (0) to the apex.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmodalnet.phantom.primitives import Field
from crossmodalnet.phantom.shape import Sizes


def _unit(vector: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(vector, np.float64)
    return np.asarray(values / np.linalg.norm(values))


def _long_axis_frame() -> NDArray[np.float64]:
    w = _unit([-0.68, 0.52, -0.52])  # the apex lies to the left, in front, below
    s = _unit(np.cross(w, np.cross([0.61, 0.79, 0.0], w)))  # the septum faces right and forwards
    return np.stack([s, np.cross(s, w), w])


BASE = np.array([-14.0, -12.0, 4.0])  # middle of the LV's base
FRAME = _long_axis_frame()  # rows s, t, w

LV_CENTRE_W, LV_RADIUS_MM, LV_HALF_LENGTH_MM, WALL_MM = 20.0, 22.0, 55.0, 9.0
LA_CENTRE = np.array([-3.0, -41.0, 11.0])
RA_CENTRE = np.array([37.0, -5.0, -3.0])

# Valves, with the direction in which blood passes them.
TRICUSPID, INTO_RV = np.array([18.0, 14.0, -12.0]), _unit([-0.75, 0.6, -0.28])
AORTIC, INTO_AORTA = np.array([-9.5, -0.3, 19.4]), _unit([0.55, 0.17, 0.82])
PULMONARY, INTO_PULMONARY = np.array([-16.0, 28.0, 36.0]), _unit([-0.12, -0.72, 0.68])

SEPTUM_MM = 2.5  # between neighbouring blood pools that do not communicate


def vector(x: float, y: float, z: float) -> NDArray[np.float64]:
    """A point or direction in mean coordinates."""
    return np.array([x, y, z], np.float64)


def long_axis(s: float, t: float, w: float) -> NDArray[np.float64]:
    """Mean coordinates of a point of the long-axis frame."""
    return np.asarray(BASE + np.array([s, t, w]) @ FRAME)


def to_long_axis(points: Field) -> Field:
    """Coordinates `(3, n)` in the long-axis frame of points in mean coordinates."""
    local: Field = np.tensordot(FRAME, points - BASE[:, None], 1)
    return local


def epicardial_radius(sizes: Sizes) -> float:
    """Largest radius of the LV with its wall, mm."""
    return LV_RADIUS_MM * sizes.lv_radius + WALL_MM * sizes.wall
