"""How a person looks in a 3-D gradient-echo MR, in arbitrary units."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.phantom.primitives import Field
from crossmodalnet.phantom.protocols import MrProtocol
from crossmodalnet.phantom.render import render
from crossmodalnet.phantom.scanner import Scan
from crossmodalnet.phantom.shape import SubjectShape
from crossmodalnet.phantom.texture import smooth_noise

# Parts of a slice at which an MR is sampled; the middle one gives the label map.
SUB_SLICES = (-1 / 3, 0.0, 1 / 3)


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
    rng: np.random.Generator, shape: SubjectShape, scan: Scan, protocol: MrProtocol
) -> tuple[Field, NDArray[np.uint8]]:
    """Image a person; an intensity is the mean over `SUB_SLICES` of a thick slice.

    Args:
        rng: source of all choices.
        shape: the person.
        scan: the grid, and where the person lies in it.
        protocol: contrast, coil, noise and sharpness.

    Returns:
        Intensities, whole numbers from 0, of any scale; class indices in the middle of the slices.
    """
    grid, tissue = scan.grid, draw_tissue(rng, protocol)
    width_mm = protocol.blur * min(grid.spacing_mm)
    texture = 1 + 0.05 * smooth_noise(rng, grid.shape, grid.spacing_mm, 18.0)
    image, labels = render(scan, shape, tissue, width_mm, SUB_SLICES, bias=_draw_coil(rng, protocol.coil))
    image *= texture
    level = rng.uniform(*protocol.noise)
    real, imaginary = (
        rng.standard_normal(grid.shape, np.float32).astype(np.float64) * level for _ in range(2)
    )
    magnitude = np.hypot(image + real, imaginary)
    return np.round(magnitude * 10 ** rng.uniform(2.3, 3.2)), labels


def _draw_coil(rng: np.random.Generator, strength: float) -> Callable[[Field], Field]:
    """Draw a smooth positive bias: brighter towards the surface coil in front, a random slope and curvature."""
    slope = strength * rng.uniform((-0.25, 0.0, -0.25), (0.25, 0.45, 0.25))
    curve = strength * rng.uniform(-0.25, 0.25, 3)

    def bias(points: Field) -> Field:
        x, y, z = points / 100
        field: Field = (
            slope[0] * x
            + slope[1] * y
            + slope[2] * z
            + curve[0] * x * y
            + curve[1] * z * z
            + curve[2] * x * z
        )
        return np.exp(np.clip(field, -1.2, 1.2))

    return bias
