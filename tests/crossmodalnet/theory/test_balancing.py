import math
from dataclasses import replace

import numpy as np
import pytest

from crossmodalnet.theory.balancing import (
    check,
    equation_23,
    judge_attention,
    judge_convergence,
    replay,
)
from crossmodalnet.theory.findings import Verdict


def verdicts(outcome):
    return {finding.key: finding.verdict for finding in outcome.findings}


@pytest.mark.parametrize(
    ("balancing", "definition", "attention"),
    [
        ("paper", Verdict.HOLDS, Verdict.FAILS),
        ("harder", Verdict.DEPARTS, Verdict.HOLDS),
        ("uniform", Verdict.DEPARTS, Verdict.FAILS),
    ],
)
def test_each_mode_has_its_verdicts(make_subject, settings, balancing, definition, attention):
    found = verdicts(check(make_subject(balancing=balancing), settings))
    assert found == {"definition_4": definition, "equation_23": attention, "theorem_2_5": Verdict.CONDITIONAL}


def test_a_training_of_one_epoch_is_judged_too(make_subject, settings):
    subject = make_subject()
    one = {name: values[:1] for name, values in subject.curves.items()}
    found = check(replace(subject, curves=one), settings)
    assert verdicts(found)["definition_4"] is Verdict.HOLDS
    assert {row["epoch"] for row in found.tables["balancing_weights"]} == {1}


def test_equation_23_by_hand():
    weights = equation_23(np.array([[2.0, 1.0], [0.0, 0.0]]), 0.5)
    first = math.exp(-1.0) / (math.exp(-1.0) + math.exp(-0.5))
    np.testing.assert_allclose(weights, [[first, 1 - first]])


def test_replayed_weights_lag_one_step():
    losses = np.array([[2.0, 1.0], [5.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(replay(losses, ("x", "y"), "paper", 0.5), equation_23(losses, 0.5))


def test_epochs_without_a_clearly_larger_loss_do_not_count():
    losses = np.array([[1.0, 0.5], [0.5, 0.49]])
    wrong_where_unclear = np.array([[0.7, 0.3], [0.4, 0.6]])
    assert judge_attention(("x", "y"), losses, wrong_where_unclear).verdict is Verdict.HOLDS
    assert judge_attention(("x", "y"), losses, wrong_where_unclear[::-1]).verdict is Verdict.FAILS
    assert judge_attention(("x", "y"), losses[1:], losses[1:]).verdict is Verdict.UNDECIDED


def test_convergence_is_judged_by_both_problems():
    better, worse = np.array([0.1, 0.1]), np.array([0.3, 0.2])
    assert judge_convergence("paper", (0.1, 0.1), (1.0, worse, better), {}).verdict is Verdict.FAILS
    assert judge_convergence("paper", (1e-6, 1e-6), (1.0, worse, better), {}).verdict is Verdict.CONDITIONAL
    assert judge_convergence("paper", (1e-6, 1e-6), (1.0, better, better), {}).verdict is Verdict.HOLDS


def test_trained_gradients_are_measured_for_every_mode(make_subject, settings):
    rows = check(make_subject(), settings).tables["balancing_gradients"]
    assert [row["mode"] for row in rows] == ["paper", "harder", "uniform"]
    assert all(row["weighted_norm"] >= row["smallest_norm"] - 1e-9 for row in rows)
    assert rows[0]["smallest_norm"] > 0


def test_one_objective_has_nothing_to_balance(make_subject, settings):
    found = verdicts(check(make_subject(objectives=("ce",)), settings))
    assert set(found.values()) == {Verdict.NOT_APPLICABLE}
