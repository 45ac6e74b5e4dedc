"""A patient made of ellipsoids, scanned on any grid: what registration and cropping are tested on."""

import os
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from crossmodalnet.imaging.volume import Grid, Volume

os.environ.pop("COLUMNS", None)  # test workers set it; without it, output is not wrapped
Scan = Callable[..., tuple[Volume, Volume]]
# Centre and half axes in mm, label index, CT value, MR value; later ones lie on top.
_PARTS = (
    ((0, 0, 0), (92, 70, 120), 0, 20.0, 150.0),
    ((50, 0, 5), (32, 52, 70), 0, -850.0, 20.0),
    ((-50, 0, 5), (32, 52, 70), 0, -850.0, 20.0),
    ((0, -52, 0), (12, 12, 120), 0, 400.0, 60.0),
    ((-14, 8, -8), (30, 28, 36), 5, 90.0, 110.0),
    ((-14, 8, -8), (20, 18, 26), 1, 330.0, 320.0),
    ((20, 14, -8), (16, 20, 30), 2, 280.0, 300.0),
    ((4, 0, 34), (12, 12, 20), 6, 340.0, 290.0),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the real pipeline first: its file takes longest, and others can fill the time beside it."""
    items.sort(key=lambda item: "integration" not in item.path.parts)


def scan_patient(
    kind: str, affine: NDArray[np.float64], *, shape=(32, 32, 32), shift_mm=(0, 0, 0), scale=1.0, noise=10.0
) -> tuple[Volume, Volume]:
    points = Grid(shape, affine).to_world(np.indices(shape).reshape(3, -1))
    points = (points - np.array(shift_mm)[:, None]) / scale
    image = np.full(points.shape[1], -1000.0 if kind == "ct" else 5.0)
    label = np.zeros(points.shape[1], np.uint8)
    for centre, half_axes, index, ct, mr in _PARTS:
        inside = (((points.T - centre) / half_axes) ** 2).sum(axis=1) < 1
        image[inside] = ct if kind == "ct" else mr
        label[inside] = index
    image += np.random.default_rng(0).normal(0, noise, image.shape)
    return Volume(image.reshape(shape).astype(np.float32), affine), Volume(label.reshape(shape), affine)


@pytest.fixture(scope="session")
def scan() -> Scan:
    """Scan the patient: `scan("ct" or "mr", affine, shape=, shift_mm=, scale=)` gives image and label map."""
    return scan_patient


@pytest.fixture(scope="session")
def centred() -> Callable[..., NDArray[np.float64]]:
    """Affine of a grid whose centre is the world's: `centred(spacing_mm, shape, rotation)`."""

    def affine(spacing_mm, shape=(32, 32, 32), rotation=np.eye(3)) -> NDArray[np.float64]:  # noqa: B008
        matrix = np.eye(4)
        matrix[:3, :3] = rotation * spacing_mm
        matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
        return matrix

    return affine
