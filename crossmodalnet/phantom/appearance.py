"""Simulate CT (HU) and 3-D gradient-echo MR (arbitrary units) of a person."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crossmodalnet.imaging.volume import Grid
from crossmodalnet.phantom.primitives import Field, smooth_noise
from crossmodalnet.phantom.render import render
from crossmodalnet.phantom.scanner import CtProtocol, MrProtocol, Scan
from crossmodalnet.phantom.shape import SubjectShape

OUTSIDE_HU = -1024.0


def image_ct(
    rng: np.random.Generator, shape: SubjectShape, scan: Scan, protocol: CtProtocol
) -> tuple[Field, NDArray[np.uint8]]:
    """Image a person in whole HU (-1024 outside the reconstruction circle), with class indices."""
    grid = scan.grid
    tissue = _tissue(rng, grid, protocol)
    image, labels = render(scan, shape, tissue, width_mm=float(np.mean(grid.spacing_mm)))
    image = ndimage.gaussian_filter(image, protocol.blur_voxels)
    image += _noise(rng, grid.shape, protocol)
    image[_outside(grid.shape, scan.slice_axis)] = OUTSIDE_HU
    return np.clip(np.round(image), OUTSIDE_HU, 3071), labels


def _tissue(rng: np.random.Generator, grid: Grid, protocol: CtProtocol) -> dict[str, Field | float]:
    left, pools = rng.uniform(*protocol.left_hu), protocol.pools_hu
    if rng.random() < protocol.bright_right_share:
        right = left * rng.uniform(*protocol.right_of_left)
    else:
        right = rng.uniform(*protocol.right_hu)
    right = min(right, protocol.right_hu[1])
    grain = [smooth_noise(rng, grid.shape, grid.spacing_mm, scale) for scale in (9.0, 9.0, 25.0)]
    # Vessels run along the curves on which two random fields are both zero.
    vessels = np.exp(-(grain[0] ** 2 + grain[1] ** 2) * 9)
    # Unmixed blood from the venae cavae: the RA is patchy, the RV less.
    mixing = np.tanh(grain[2]) * (protocol.mixing * right)
    fixed = {
        "air": -1000.0, "fat": rng.uniform(-105, -85), "muscle": rng.uniform(45, 62),
        "liver": rng.uniform(*protocol.liver_hu), "stomach": rng.uniform(10, 45),
        "spleen": rng.uniform(*protocol.spleen_hu), "cortex": rng.uniform(420, 620), "cartilage": rng.uniform(80, 120),
        "fluid": 20.0, "myocardium": rng.uniform(*protocol.myocardium_hu), "wall": rng.uniform(45, 75),
        "left": left, "right": right, "lv": left + rng.uniform(-0.8 * pools, 0.8 * pools),
        "aorta": left + rng.uniform(-pools, pools), "pulmonary": right + rng.uniform(-pools, pools),
        "svc": right * rng.uniform(*protocol.svc_of_right), "ivc": rng.uniform(*protocol.ivc_hu),
    }  # fmt: skip
    lung = rng.uniform(-870, -790) + 12 * grain[2] + vessels * rng.uniform(650, 850)
    marrow = rng.uniform(150, 230) + 35 * grain[0]
    return {name: float(value) for name, value in fixed.items()} | {
        "lung": lung, "marrow": marrow, "ra": right + mixing, "rv": right + 0.4 * mixing,
    }  # fmt: skip


def _noise(rng: np.random.Generator, shape: tuple[int, ...], protocol: CtProtocol) -> Field:
    """Draw noise with the short correlation of a reconstruction kernel."""
    white = rng.standard_normal(shape, np.float32).astype(np.float64)
    coloured: Field = ndimage.gaussian_filter(white, protocol.kernel_voxels)
    coloured *= rng.uniform(*protocol.noise_hu) / coloured.std()
    return coloured


def _outside(shape: tuple[int, ...], slice_axis: int) -> NDArray[np.bool_]:
    """Mask the outside of an ellipse just larger than the field of view."""
    squares = []
    for axis, n in enumerate(shape):
        position = (np.arange(n) - (n - 1) / 2) / (n / 2)
        position = np.zeros(n) if axis == slice_axis else position
        squares.append(position.reshape([-1 if a == axis else 1 for a in range(len(shape))]) ** 2)
    return np.asarray(sum(squares) > 1.04)


SUB_SLICES = (-1 / 3, 0.0, 1 / 3)  # samples across an MR slice; the middle one gives the label map


def draw_tissue(rng: np.random.Generator, protocol: MrProtocol) -> dict[str, Field | float]:
    """Draw tissue intensities; blood pools differ by a few per cent."""
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
    """Image a person in whole numbers of any scale, averaged over a thick slice, with class indices at its middle."""
    grid, tissue = scan.grid, draw_tissue(rng, protocol)
    width_mm = protocol.blur * min(grid.spacing_mm)
    texture = 1 + 0.05 * smooth_noise(rng, grid.shape, grid.spacing_mm, 18.0)
    image, labels = render(scan, shape, tissue, width_mm, SUB_SLICES, bias=_draw_coil(rng, protocol.coil))
    image *= texture
    level = rng.uniform(*protocol.noise)
    real, imaginary = (rng.standard_normal(grid.shape, np.float32).astype(np.float64) * level for _ in range(2))
    magnitude = np.hypot(image + real, imaginary)
    return np.round(magnitude * 10 ** rng.uniform(2.3, 3.2)), labels


def _draw_coil(rng: np.random.Generator, strength: float) -> Callable[[Field], Field]:
    """Draw a smooth positive bias: brighter at the anterior surface coil, random slope and curvature."""
    slope = strength * rng.uniform((-0.25, 0.0, -0.25), (0.25, 0.45, 0.25))
    curve = strength * rng.uniform(-0.25, 0.25, 3)

    def bias(points: Field) -> Field:
        x, y, z = points / 100
        bent = curve[0] * x * y, curve[1] * z * z, curve[2] * x * z
        field: Field = slope[0] * x + slope[1] * y + slope[2] * z + bent[0] + bent[1] + bent[2]
        return np.exp(np.clip(field, -1.2, 1.2))

    return bias
