"""How a person looks in a 3-D gradient-echo MR, in arbitrary units."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.phantom.body import Body
from crossmodalnet.phantom.primitives import Field
from crossmodalnet.phantom.protocols import MrProtocol
from crossmodalnet.phantom.texture import smooth_noise
from crossmodalnet.phantom.tissue import paint_body


def draw_tissue(rng: np.random.Generator, protocol: MrProtocol) -> dict[str, Field | float]:
    """Draw intensities: those of the protocol, and blood pools that differ by a few per cent."""
    left = protocol.blood
    right = left * rng.uniform(0.88, 1.0)
    tissue = {
        "air": 0.0, "cortex": 0.04, "cartilage": protocol.cartilage,
        **{name: rng.uniform(*limits) for name, limits in protocol.tissue.items()},
        "left": left, "lv": left * rng.uniform(0.97, 1.03), "aorta": left * rng.uniform(0.94, 1.05),
        "right": right, "ra": right, "rv": right * rng.uniform(0.97, 1.03),
        "pulmonary": right * rng.uniform(0.92, 1.0),
        "svc": right, "ivc": right * rng.uniform(0.9, 1.0),
    }  # fmt: skip
    return {name: float(value) for name, value in tissue.items()}


def image_mr(
    rng: np.random.Generator,
    bodies: Sequence[Body],
    spacing_mm: tuple[float, float, float],
    in_plane_mm: float,
    protocol: MrProtocol,
) -> Field:
    """Image a person.

    Args:
        rng: source of all choices.
        bodies: the person at equally spaced offsets across a slice; their mean is the thick slice.
        spacing_mm: spacing of the grid.
        in_plane_mm: in-plane spacing.
        protocol: contrast, coil, noise and sharpness.

    Returns:
        Intensities on the grid, whole numbers from 0, of any scale.
    """
    tissue = draw_tissue(rng, protocol)
    width_mm = protocol.blur * in_plane_mm
    image = np.mean([paint_body(body, tissue, width_mm) for body in bodies], axis=0, dtype=np.float32)
    shape = bodies[0].shape
    image *= 1 + np.float32(0.05) * smooth_noise(rng, shape, spacing_mm, 18.0)
    image *= _coil(rng, bodies[len(bodies) // 2].mean_points, protocol.coil).reshape(shape)
    level = rng.uniform(*protocol.noise)
    real, imaginary = (rng.standard_normal(shape, dtype=np.float32) * np.float32(level) for _ in range(2))
    magnitude = np.hypot(image + real, imaginary)
    return np.asarray(np.round(magnitude * np.float32(10 ** rng.uniform(2.3, 3.2))), np.float32)


def _coil(rng: np.random.Generator, points: NDArray[np.float32], strength: float) -> Field:
    """Smooth positive bias: brighter towards the surface coil in front, a random slope and curvature."""
    x, y, z = (points * np.float32(1 / 100)).astype(np.float32)
    slope = strength * rng.uniform((-0.25, 0.0, -0.25), (0.25, 0.45, 0.25))
    curve = strength * rng.uniform(-0.25, 0.25, 3)
    field: Field = (
        slope[0] * x + slope[1] * y + slope[2] * z + curve[0] * x * y + curve[1] * z * z + curve[2] * x * z
    )
    return np.exp(np.clip(field, -1.2, 1.2)).astype(np.float32)
