import numpy as np
import pytest
from scipy.optimize import minimize

from crossmodalnet.theory.balancing import (
    convex_problem,
    deeper_valley,
    descend,
    distance_to_front,
    smallest_norm,
    stationarity,
    two_valleys,
)


@pytest.mark.parametrize(
    ("gradients", "norm"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], 0.5**0.5),  # middle of the segment
        ([[1.0, 0.0], [-2.0, 0.0]], 0.0),  # opposed: the origin is between them
        ([[1.0, 0.0], [3.0, 0.0]], 1.0),  # the shorter one
        ([[1.0, 1.0], [1.0, -1.0], [-3.0, 0.0]], 0.0),  # the origin is inside
        ([[0.0, 0.0], [1.0, 2.0]], 0.0),
    ],
)
def test_shortest_vector_of_a_hull_by_hand(gradients, norm):
    matrix = np.array(gradients)
    found, weights = smallest_norm(matrix @ matrix.T)
    assert found == pytest.approx(norm, abs=1e-7)
    assert np.linalg.norm(weights @ matrix) == pytest.approx(norm, abs=1e-7)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_shortest_vector_agrees_with_a_general_solver(seed):
    matrix = np.random.default_rng(seed).normal(0.3, 1, (3, 4))
    gram = matrix @ matrix.T
    sum_to_one = {"type": "eq", "fun": lambda w: w.sum() - 1}
    solved = minimize(lambda w: w @ gram @ w, np.full(3, 1 / 3), bounds=[(0, 1)] * 3, constraints=sum_to_one)
    assert smallest_norm(gram)[0] == pytest.approx(np.sqrt(solved.fun), abs=1e-3)


@pytest.mark.parametrize("problem", [convex_problem(), two_valleys()])
def test_gradients_are_those_of_the_values(problem):
    point, h = problem.start, 1e-6
    for axis in range(len(point)):
        step = h * np.eye(len(point))[axis]
        slope = (problem.values(point + step) - problem.values(point - step)) / (2 * h)
        np.testing.assert_allclose(problem.gradients(point)[:, axis], slope, rtol=1e-5, atol=1e-7)


def test_the_front_joins_both_minima_and_is_stationary():
    problem = convex_problem()
    assert distance_to_front(np.array([1.0, 0.0])) == pytest.approx(0)
    assert distance_to_front(np.array([0.0, 1.0])) == pytest.approx(0)
    # w = 1/2: (C1 + C2)^-1 (C1 m1 + C2 m2) = (1 / 3, 1 / 4)
    middle = np.array([1 / 3, 1 / 4])
    assert distance_to_front(middle) < 1e-4
    assert stationarity(problem, middle) < 1e-7
    assert stationarity(problem, np.array([2.0, 2.0])) > 1


def test_descent_with_equal_weights_minimises_the_sum():
    np.testing.assert_allclose(descend(convex_problem(), "uniform", 0.5)[-1], [1 / 3, 1 / 4], atol=1e-6)


def test_the_valley_at_the_start_is_dominated():
    problem = two_valleys()
    end = descend(problem, "paper", 0.5)[-1]
    assert end[0] > 0.9
    assert (problem.values(deeper_valley(problem)) < problem.values(end)).all()
