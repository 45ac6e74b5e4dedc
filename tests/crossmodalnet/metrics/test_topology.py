import numpy as np
import pytest

from crossmodalnet.metrics.topology import betti_error, betti_numbers, stray_components

GRID = np.indices((32, 30, 28)).astype(float)


def ball(radius: float, centre: tuple[float, float, float] = (15, 15, 14)) -> np.ndarray:
    return np.linalg.norm(GRID - np.reshape(centre, (3, 1, 1, 1)), axis=0) <= radius


def torus(axis: int, centre: tuple[float, float, float], major: float = 7, minor: float = 2) -> np.ndarray:
    """Solid torus around a line through `centre` along `axis`."""
    offset = GRID - np.reshape(centre, (3, 1, 1, 1))
    around = np.linalg.norm(np.delete(offset, axis, 0), axis=0)
    return np.hypot(around - major, offset[axis]) <= minor


SHAPES = {
    "ball": (ball(9), (1, 0, 0)),
    "ball at the border": (ball(9, (0, 15, 27)), (1, 0, 0)),
    "hollow ball": (ball(9) & ~ball(6), (1, 0, 1)),
    "ball in a hollow ball": (ball(9) & ~ball(6) | ball(3), (2, 0, 1)),
    "two balls": (ball(5, (8, 8, 8)) | ball(5, (22, 20, 20)), (2, 0, 0)),
    "solid torus": (torus(0, (15, 15, 14)), (1, 1, 0)),
    "hollow torus": (torus(2, (15, 15, 14), 8, 3.5) & ~torus(2, (15, 15, 14), 8, 1.6), (1, 2, 1)),
    "two linked tori": (torus(0, (15, 10, 14)) | torus(2, (15, 17, 14)), (2, 2, 0)),
    "box with two tunnels": (np.array([[[1] * 5, [1, 0, 1, 0, 1], [1] * 5]], bool), (1, 2, 0)),
    "empty": (np.zeros((4, 5, 6), bool), (0, 0, 0)),
    "full": (np.ones((4, 5, 6), bool), (1, 0, 0)),
}


@pytest.mark.parametrize(("mask", "expected"), SHAPES.values(), ids=SHAPES)
def test_known_shapes(mask: np.ndarray, expected: tuple[int, ...]) -> None:
    assert betti_numbers(mask) == expected


def test_error_adds_up_the_three_numbers() -> None:
    hollow, ring = ball(9) & ~ball(6), torus(0, (15, 15, 14))
    assert betti_error(hollow, ring) == betti_error(ring, hollow) == 2
    assert betti_error(ring | ball(1, (1, 1, 1)), ball(9)) == 2
    assert betti_error(ring, np.zeros_like(ring)) == 2
    assert betti_error(ball(9), ball(4, (5, 5, 5))) == 0


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="three axes"):
        betti_numbers(np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="one shape"):
        betti_error(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool))


def test_pieces_beyond_the_first_are_stray() -> None:
    mask = np.zeros((6, 6, 6), bool)
    assert stray_components(mask) == 0
    mask[1, 1, 1] = mask[2, 2, 2] = True  # joined by a corner
    assert stray_components(mask) == 0
    mask[5, 5, 5] = mask[0, 5, 0] = True
    assert stray_components(mask) == 2
