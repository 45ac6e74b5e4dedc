from itertools import pairwise, product

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


def rank_mod_2(rows: list[int]) -> int:
    """Gaussian elimination; each row is an integer whose bits are its entries."""
    pivots: dict[int, int] = {}
    for row in rows:
        while row and row.bit_length() in pivots:
            row ^= pivots[row.bit_length()]
        if row:
            pivots[row.bit_length()] = row
    return len(pivots)


def homology(mask: np.ndarray) -> tuple[int, ...]:
    """Ranks of the homology groups mod 2 of the closed voxel cubes, from their boundary matrices.

    A cell is written in doubled coordinates: odd along the axes it extends along.
    """
    cells: set[tuple[int, ...]] = set()
    for voxel in np.argwhere(mask):
        cells |= {tuple(2 * voxel + 1 + np.array(step)) for step in product((-1, 0, 1), repeat=3)}
    by_dimension = [sorted(c for c in cells if sum(x % 2 for x in c) == dim) for dim in range(4)]
    ranks = [0]
    for lower, upper in pairwise(by_dimension):
        bit = {cell: 1 << i for i, cell in enumerate(lower)}
        sides = [[(*c[:a], c[a] + s, *c[a + 1 :]) for a in range(3) if c[a] % 2 for s in (-1, 1)] for c in upper]
        ranks.append(rank_mod_2([sum(bit[side] for side in each) for each in sides]))
    ranks.append(0)
    return tuple(len(by_dimension[d]) - ranks[d] - ranks[d + 1] for d in range(3))


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


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_random_masks_against_ranks_of_boundary_matrices(share: float) -> None:
    rng = np.random.default_rng(int(10 * share))
    for shape in ((3, 3, 3), (4, 3, 5), (5, 5, 4)):
        mask = rng.random(shape) < share
        assert betti_numbers(mask) == homology(mask)


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
