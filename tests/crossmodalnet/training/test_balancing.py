import math

import pytest

from crossmodalnet.training.balancing import AdaptiveBalancer, balancing_weights


def test_equation_23_by_hand():
    low, high = math.exp(-2 * 0.5), math.exp(-2 * 1.5)
    expected = [low / (low + high), high / (low + high)]
    assert balancing_weights([0.5, 1.5], 2.0, "paper") == pytest.approx(expected)


@pytest.mark.parametrize(("mode", "heaviest"), [("paper", 0), ("harder", 2)])
def test_which_loss_weighs_most(mode, heaviest):
    weights = balancing_weights([0.1, 0.5, 0.9], 1.0, mode)
    assert weights.index(max(weights)) == heaviest
    assert sum(weights) == pytest.approx(1)


@pytest.mark.parametrize(("alpha", "mode"), [(0.0, "paper"), (5.0, "uniform")])
def test_equal_weights(alpha, mode):
    assert balancing_weights([0.1, 0.5, 0.9], alpha, mode) == pytest.approx([1 / 3] * 3)


def test_huge_losses_do_not_overflow():
    assert balancing_weights([1e4, 0.0], 1.0, "harder") == [1.0, 0.0]


def test_weights_follow_the_losses_of_the_step_before_and_are_restored():
    balancer, other = (AdaptiveBalancer(["dice", "ce"], "paper", 1.0) for _ in range(2))
    assert balancer.weights == [0.5, 0.5]
    balancer.update([0.0, math.log(3)])
    assert balancer.weights == pytest.approx([0.75, 0.25])
    other.restore(balancer.state())
    assert other.weights == balancer.weights


def test_unknown_mode():
    with pytest.raises(ValueError, match="paper, harder, uniform"):
        AdaptiveBalancer(["a"], "easier", 1.0)


@pytest.mark.parametrize("losses", [[0.1], [0.1, math.nan]])
def test_impossible_losses(losses):
    with pytest.raises(ValueError, match="2 finite numbers"):
        AdaptiveBalancer(["dice", "ce"], "paper", 1.0).update(losses)
