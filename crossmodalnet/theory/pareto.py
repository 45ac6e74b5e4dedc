"""Pareto stationarity of several objectives, and small problems on which balancing can be watched (Theorem 2.5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.training.balancing import AdaptiveBalancer, Balancing

Array = NDArray[np.float64]
# Where the two losses of the convex problem have their minima, and their curvatures along the two axes.
MINIMA = np.array([[1.0, 0.0], [0.0, 1.0]])
CURVATURES = np.array([[1.0, 3.0], [2.0, 1.0]])
START = np.array([-1.0, -1.5])
STEP_SIZE = 0.05
NUM_STEPS = 2000


@dataclass(frozen=True)
class ParetoProblem:
    """Several losses of one vector.

    Attributes:
        values: (m,) at a point.
        gradients: (m, n) at a point.
        start: (n,).
    """

    values: Callable[[Array], Array]
    gradients: Callable[[Array], Array]
    start: Array


def smallest_norm(gram: Array) -> tuple[float, Array]:
    """Find the shortest vector in the convex hull of gradients (Désidéri 2012); it is 0 at Pareto-stationary points.

    Every face of the hull is tried: exact, and quick for the few losses that a training has.

    Args:
        gram: (m, m), inner products of the gradients.

    Returns:
        Length of the shortest vector, and the weights (m,) that give it, from 0 to 1 with sum 1.
    """
    best, weights = np.inf, np.zeros(len(gram))
    for size in range(1, len(gram) + 1):
        for face in map(list, combinations(range(len(gram)), size)):
            # Stationary on this face's plane: K w = -lambda 1, 1' w = 1; K is singular where gradients oppose.
            system = np.block([[gram[np.ix_(face, face)], np.ones((size, 1))], [np.ones((1, size)), 0.0]])
            inner = np.linalg.lstsq(system, np.append(np.zeros(size), 1.0), rcond=None)[0][:size]
            if (inner < 0).any():
                continue  # the shortest vector of the plane lies outside of the face
            candidate = np.zeros(len(gram))
            candidate[face] = inner
            if (squared := float(candidate @ gram @ candidate)) < best:
                best, weights = squared, candidate
    return float(np.sqrt(max(best, 0.0))), weights


def descend(problem: ParetoProblem, mode: Balancing, alpha: float) -> list[Array]:
    """Follow the balanced gradient, with the training's own balancer, in plain steps; gives every point."""
    point = problem.start.copy()
    balancer = AdaptiveBalancer([str(i) for i in range(len(problem.values(point)))], mode, alpha)
    points = [point]
    for _ in range(NUM_STEPS):
        weights = np.array(balancer.weights)
        balancer.update([float(value) for value in problem.values(point)])
        point = point - STEP_SIZE * weights @ problem.gradients(point)
        points.append(point)
    return points


def stationarity(problem: ParetoProblem, point: Array) -> float:
    """Distance of a point to Pareto stationarity: the smallest norm in the hull of its gradients."""
    gradients = problem.gradients(point)
    return smallest_norm(gradients @ gradients.T)[0]


def convex_problem() -> ParetoProblem:
    """Two quadratic bowls in the plane; their Pareto front is known, see `distance_to_front`."""
    return ParetoProblem(
        lambda x: 0.5 * (CURVATURES * (x - MINIMA) ** 2).sum(1),
        lambda x: CURVATURES * (x - MINIMA),
        START,
    )


def distance_to_front(point: Array, num_points: int = 20_001) -> float:
    """Distance of a point to the Pareto front of `convex_problem`.

    The front holds the minima of all weighted sums: `(w C_1 + (1 - w) C_2)^-1 (w C_1 m_1 + (1 - w) C_2 m_2)`.
    """
    shares = np.linspace(0, 1, num_points)[:, None]
    first, second = CURVATURES
    sums = shares * first + (1 - shares) * second
    front = (shares * first * MINIMA[0] + (1 - shares) * second * MINIMA[1]) / sums
    return float(np.linalg.norm(front - point, axis=1).min())


def two_valleys() -> ParetoProblem:
    """Two losses with a shallow valley near 1, where descent starts, and for both a deeper one near -1."""
    slopes, walls = np.array([0.3, 0.25]), np.array([1.0, 1.2])
    return ParetoProblem(
        lambda x: walls * (x[0] ** 2 - 1) ** 2 + slopes * x[0],
        lambda x: (walls * 4 * x[0] * (x[0] ** 2 - 1) + slopes)[:, None],
        np.array([1.3]),
    )


def deeper_valley(problem: ParetoProblem) -> Array:
    """Find the point of `two_valleys` that is best for the sum of both losses, on a grid over [-2, 2]."""
    grid = np.linspace(-2, 2, 4001)
    best: Sequence[float] = [float(problem.values(np.array([x])).sum()) for x in grid]
    return np.array([grid[int(np.argmin(best))]])
