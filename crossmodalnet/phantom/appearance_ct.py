"""How a person looks in contrast-enhanced CT, in Hounsfield units."""

import numpy as np
from scipy import ndimage

from crossmodalnet.phantom.body import Body
from crossmodalnet.phantom.primitives import Field
from crossmodalnet.phantom.protocols import CtProtocol
from crossmodalnet.phantom.texture import smooth_noise
from crossmodalnet.phantom.tissue import paint_body

OUTSIDE_HU = -1024.0


def image_ct(
    rng: np.random.Generator,
    body: Body,
    spacing_mm: tuple[float, float, float],
    slice_axis: int,
    protocol: CtProtocol,
) -> Field:
    """Image a person.

    Contrast timing differs, as far as the protocol lets it: in the reference the left heart has 250 to 450 HU,
    the right heart 120 to 350, in a third of the people nearly the left's. Communicating blood pools differ
    by a few HU only, less than the noise.

    Args:
        rng: source of all choices.
        body: the person.
        spacing_mm: spacing of the grid, per array axis.
        slice_axis: array axis across the slices.
        protocol: contrast phase, noise and sharpness.

    Returns:
        HU on the grid, whole numbers, -1024 outside the reconstruction circle.
    """
    tissue = _tissue(rng, body, spacing_mm, protocol)
    width_mm = float(np.mean(spacing_mm))
    image = paint_body(body, tissue, width_mm)
    image = ndimage.gaussian_filter(image, protocol.blur_voxels)
    image += _noise(rng, body.shape, protocol)
    image[_outside(body.shape, slice_axis)] = OUTSIDE_HU
    return np.clip(np.round(image), OUTSIDE_HU, 3071)


def _tissue(
    rng: np.random.Generator, body: Body, spacing_mm: tuple[float, float, float], protocol: CtProtocol
) -> dict[str, Field | float]:
    left = rng.uniform(*protocol.left_hu)
    if rng.random() < protocol.bright_right_share:
        right = left * rng.uniform(*protocol.right_of_left)
    else:
        right = rng.uniform(*protocol.right_hu)
    right = min(right, protocol.right_hu[1])
    grain = [smooth_noise(rng, body.shape, spacing_mm, scale).ravel() for scale in (9.0, 9.0, 25.0)]
    # Vessels run along the curves on which two random fields are both zero.
    vessels = np.exp(-(grain[0] ** 2 + grain[1] ** 2) * np.float32(9))
    # Unmixed blood from the venae cavae: the RA is patchy, the RV less.
    mixing = np.tanh(grain[2]) * np.float32(protocol.mixing * right)
    fixed = {
        "air": -1000.0, "fat": rng.uniform(-105, -85), "muscle": rng.uniform(45, 62),
        "liver": rng.uniform(75, 120), "stomach": rng.uniform(10, 45), "spleen": rng.uniform(95, 140),
        "cortex": rng.uniform(420, 620), "cartilage": rng.uniform(80, 120),
        "fluid": 20.0, "myocardium": rng.uniform(*protocol.myocardium_hu), "wall": rng.uniform(45, 75),
        "left": left, "right": right, "lv": left + rng.uniform(-8, 8), "aorta": left + rng.uniform(-10, 10),
        "pulmonary": right + rng.uniform(-10, 10),
        "svc": right * rng.uniform(*protocol.svc_of_right), "ivc": rng.uniform(*protocol.ivc_hu),
    }  # fmt: skip
    lung = np.float32(rng.uniform(-870, -790)) + 12 * grain[2] + vessels * np.float32(rng.uniform(650, 850))
    marrow = rng.uniform(150, 230) + 35 * grain[0]
    return {name: float(value) for name, value in fixed.items()} | {
        "lung": lung, "marrow": marrow, "ra": right + mixing, "rv": right + 0.4 * mixing,
    }  # fmt: skip


def _noise(rng: np.random.Generator, shape: tuple[int, ...], protocol: CtProtocol) -> Field:
    """Noise with the short correlation of a reconstruction kernel."""
    white = rng.standard_normal(shape, dtype=np.float32)
    coloured: Field = ndimage.gaussian_filter(white, protocol.kernel_voxels)
    return coloured * np.float32(rng.uniform(*protocol.noise_hu) / coloured.std())


def _outside(shape: tuple[int, ...], slice_axis: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Outside of the circle (ellipse where the field is not square) just larger than the field of view."""
    squares = []
    for axis, n in enumerate(shape):
        position = (np.arange(n) - (n - 1) / 2) / (n / 2)
        position = np.zeros(n) if axis == slice_axis else position
        squares.append(position.reshape([-1 if a == axis else 1 for a in range(len(shape))]) ** 2)
    return np.asarray(sum(squares) > 1.04)
