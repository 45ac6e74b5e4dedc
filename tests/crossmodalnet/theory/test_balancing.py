from dataclasses import replace

import numpy as np
import pytest

from crossmodalnet.theory import balancing
from crossmodalnet.theory.balancing import convex_problem, distance_to_front, smallest_norm
from crossmodalnet.theory.findings import Verdict
from tests.crossmodalnet.theory.subjects import QUICK, make_subject, verdicts

CONDITIONAL, DEPARTS, FAILS, HOLDS = Verdict.CONDITIONAL, Verdict.DEPARTS, Verdict.FAILS, Verdict.HOLDS


@pytest.mark.parametrize(
    ("mode", "definition", "attention"),
    [("paper", HOLDS, FAILS), ("harder", DEPARTS, HOLDS), ("uniform", DEPARTS, FAILS)],
)
def test_each_mode_has_its_verdicts(mode, definition, attention):
    outcome = balancing.check(make_subject(balancing=mode), QUICK)
    expected = {"definition_4": definition, "equation_23": attention, "theorem_2_5": CONDITIONAL}
    assert verdicts(outcome) == expected
    rows = outcome.tables["balancing_gradients"]
    assert [row["mode"] for row in rows] == ["paper", "harder", "uniform"]
    assert all(row["weighted_norm"] >= row["smallest_norm"] - 1e-9 for row in rows)
    assert rows[0]["smallest_norm"] > 0


def test_a_training_of_one_epoch_is_judged():
    subject = make_subject()
    subject = replace(subject, curves={name: values[:1] for name, values in subject.curves.items()})
    outcome = balancing.check(subject, QUICK)
    assert verdicts(outcome)["definition_4"] is HOLDS
    assert {row["epoch"] for row in outcome.tables["balancing_weights"]} == {1}


def test_equation_23_by_hand():
    weights = balancing.equation_23(np.array([[2.0, 1.0], [0.0, 0.0]]), 0.5)
    first = np.exp(-1.0) / (np.exp(-1.0) + np.exp(-0.5))
    np.testing.assert_allclose(weights, [[first, 1 - first]])


def test_replayed_weights_lag_one_step():
    losses = np.array([[2.0, 1.0], [5.0, 0.0], [1.0, 1.0]])
    weights = balancing.replay(losses, ("x", "y"), "paper", 0.5)
    np.testing.assert_allclose(weights, balancing.equation_23(losses, 0.5))


def test_only_epochs_with_a_clearly_larger_loss_count():
    losses = np.array([[1.0, 0.5], [0.5, 0.49]])
    wrong_where_unclear = np.array([[0.7, 0.3], [0.4, 0.6]])
    tests = [(losses, wrong_where_unclear), (losses, wrong_where_unclear[::-1]), (losses[1:], losses[1:])]
    found = [balancing.judge_attention(("x", "y"), *test).verdict for test in tests]
    assert found == [HOLDS, FAILS, Verdict.UNDECIDED]


@pytest.mark.parametrize(
    ("convex", "losses", "verdict"),
    [(0.1, [0.3, 0.2], FAILS), (1e-6, [0.3, 0.2], CONDITIONAL), (1e-6, [0.1, 0.1], HOLDS)],
)
def test_convergence_is_judged_by_both_problems(convex, losses, verdict):
    losses, deeper = np.array(losses), np.array([0.1, 0.1])
    finding = balancing.judge_convergence("paper", (convex, convex), 1.0, losses, deeper, {})
    assert finding.verdict is verdict


@pytest.mark.parametrize(
    ("gradients", "norm"),
    [
        ([[1, 0], [0, 1]], 0.5**0.5),  # middle of the segment
        ([[1, 0], [-2, 0]], 0),  # opposed: the origin is between them
        ([[1, 0], [3, 0]], 1),  # the shorter one
        ([[1, 1], [1, -1], [-3, 0]], 0),  # the origin is inside
        ([[0, 0], [1, 2]], 0),
    ],
)
def test_shortest_vector_of_a_hull_by_hand(gradients, norm):
    matrix = np.array(gradients, float)
    length, weights = smallest_norm(matrix @ matrix.T)
    assert length == pytest.approx(norm, abs=1e-7)
    assert np.linalg.norm(weights @ matrix) == pytest.approx(norm, abs=1e-7)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("problem", "point"), [(convex_problem, balancing.CONVEX_START), (balancing.two_valleys, balancing.VALLEYS_START)]
)
def test_gradients_are_those_of_the_losses(problem, point):
    for axis, step in enumerate(1e-6 * np.eye(len(point))):
        slope = (problem(point + step)[0] - problem(point - step)[0]) / 2e-6
        np.testing.assert_allclose(problem(point)[1][:, axis], slope, rtol=1e-5, atol=1e-7)


def test_the_front_joins_both_minima_and_is_stationary():
    assert [distance_to_front(minimum) for minimum in np.eye(2)] == pytest.approx([0, 0])
    # w = 1/2: (C1 + C2)^-1 (C1 m1 + C2 m2) = (1 / 3, 1 / 4)
    middle = np.array([1 / 3, 1 / 4])
    assert distance_to_front(middle) < 1e-4
    assert balancing.stationarity(convex_problem(middle)[1]) < 1e-7
    assert balancing.stationarity(convex_problem(np.array([2.0, 2.0]))[1]) > 1
    end = balancing.descend(convex_problem, balancing.CONVEX_START, "uniform", 0.5)[-1]
    np.testing.assert_allclose(end, middle, atol=1e-6)


def test_the_valley_at_the_start_is_dominated():
    end = balancing.descend(balancing.two_valleys, balancing.VALLEYS_START, "paper", 0.5)[-1]
    assert end[0] > 0.9
    assert (balancing.two_valleys(balancing.deeper_valley())[0] < balancing.two_valleys(end)[0]).all()
