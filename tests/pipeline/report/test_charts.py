from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.report.charts import ATLAS_COLOUR, MODEL_COLOURS, colour_of, marker_of, whisker

# Dichromacy in linear RGB, severity 1 (Machado et al. 2009, table 1).
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "tritanopia": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9309, 0.1476], [0.0047, 0.6914, 0.3039]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def cielab(colour: str, vision: NDArray[np.float64]) -> NDArray[np.float64]:
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    x, y, z = XYZ @ np.clip(vision @ linear, 0, 1) / (XYZ @ np.ones(3))
    fx, fy, fz = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_are_told_apart_with_any_colour_vision(vision: str) -> None:
    seen = [cielab(colour, np.array(VISIONS[vision])) for colour in (*MODEL_COLOURS, ATLAS_COLOUR)]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 20


def test_every_model_has_its_own_colour_and_marker() -> None:
    models = ["a", "b", "c", "d", "e", "f", "g"]
    assert len({colour_of(models, name) for name in (*models, "atlas")}) == 8
    assert len({marker_of(models, name) for name in (*models, "atlas")}) == 8


def test_error_bars_are_never_negative() -> None:
    np.testing.assert_allclose(whisker([1.0, 2.0], [0.5, 2.1], [1.25, 1.9]), [[0.5, 0], [0.25, 0]])
    np.testing.assert_allclose(whisker(1.0, 0.5, 1.25), [[0.5], [0.25]])
