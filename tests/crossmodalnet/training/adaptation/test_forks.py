"""Side branches of a forward pass: their values, and the sign, strength and cap of their gradients."""

import math
from types import SimpleNamespace

import pytest
import torch

from crossmodalnet.training.adaptation.adapter import Forks, branch

MAIN = torch.tensor([[3.0, 4.0], [0.0, 0.0]])  # norm 5 on the source


def _through(num_source, strengths, cap, weights):
    """Gradient of ones where the i-th way out is weighed with `weights[i]`, whose gradients they are thus."""
    x = torch.ones_like(weights[0], requires_grad=True)
    ways = branch(x, num_source, strengths, cap)
    sum((way * w).sum() for way, w in zip(ways, weights, strict=True) if w is not None).backward()
    return x.grad


def test_every_way_of_a_branch_has_the_features_themselves():
    x = torch.randn(4, 3)
    ways = branch(x, 2, [-1.0, 0.5], 1.0)
    assert len(ways) == 3
    assert all(torch.equal(way, x) for way in ways)


@pytest.mark.parametrize("strength", [-0.5, 0.5])
def test_a_side_below_the_cap_has_its_strength_and_sign(strength):
    side = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    torch.testing.assert_close(_through(1, [strength], 1.0, [MAIN, side]), MAIN + strength * side)


@pytest.mark.parametrize("strength", [-7.0, 7.0])
def test_a_side_above_the_cap_has_its_norm(strength):
    side = torch.tensor([[30.0, 0.0], [0.0, 40.0]])  # norm 50, times 7; the cap is 0.2 of 5
    expected = MAIN + math.copysign(1 / 50, strength) * side
    torch.testing.assert_close(_through(1, [strength], 0.2, [MAIN, side]), expected)


def test_the_cap_is_of_the_source_alone_and_of_each_side_by_itself():
    main = torch.tensor([[3.0, 4.0], [300.0, 400.0]])
    large, small = torch.tensor([[0.0, 20.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    found = _through(1, [-1.0, -1.0], 1.0, [main, large, small])
    torch.testing.assert_close(found, main - torch.tensor([[0.0, 5.0], [0.0, 0.0]]) - small)


def test_an_unused_side_changes_nothing():
    main, side = torch.ones(2, 2), torch.full((2, 2), 0.1)
    torch.testing.assert_close(_through(2, [-1.0, -1.0], 1.0, [main, None, side]), main - side)
    torch.testing.assert_close(_through(2, [-1.0], 1.0, [main, None]), main)


@pytest.mark.parametrize("main", [None, torch.zeros(2, 2)])
def test_without_a_supervised_gradient_no_side_moves_the_features(main):
    x = torch.ones(2, 2, requires_grad=True)
    way, side = branch(x, 1, [-1.0], 1.0)
    loss = (side * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum()
    (loss if main is None else loss + (way * main).sum()).backward()
    assert x.grad is None or not x.grad.any()


def test_a_nan_in_a_side_is_seen():
    side = torch.tensor([[torch.nan, 1.0]])
    assert _through(1, [-1.0], 1.0, [torch.ones(1, 2), side]).isnan().any()


def _forks():
    terms = {
        "a": SimpleNamespace(places=("decoder",), is_reversed=False),
        "b": SimpleNamespace(places=("decoder", "output"), is_reversed=True),
        "c": SimpleNamespace(places=("bottleneck",), is_reversed=False),
    }
    return Forks(terms, {"a": 0.5, "b": 0.25, "c": 1.0}, ramp=0.5, num_source=1, cap=1e6)


def test_each_term_sees_its_places_channels_first():
    forks, tokens, logits = _forks(), torch.rand(2, 3, 4, 5, 6), torch.rand(2, 8, 3, 4, 5)
    (on,) = forks.fork("decoder", (tokens,))
    assert torch.equal(on, tokens)
    assert [list(forks.views[name]) for name in "abc"] == [["decoder"], ["decoder"], []]
    for seen in (forks.views["a"]["decoder"][0], forks.main["decoder"][0]):
        assert torch.equal(seen, tokens.movedim(-1, 1))
    forks.fork("output", (logits,))
    assert torch.equal(forks.views["b"]["output"][0], logits)  # channels first already


@pytest.mark.parametrize(("name", "factor"), [("a", 0.25), ("b", -0.125)])
def test_gradients_come_back_by_ramp_strength_and_sign(name, factor):
    forks, tokens = _forks(), torch.rand(2, 1, 1, 1, 4, requires_grad=True)
    (on,) = forks.fork("decoder", (tokens,))
    (on.sum() + 3.0 * forks.views[name]["decoder"][0].sum()).backward()
    torch.testing.assert_close(tokens.grad, torch.full_like(tokens, 1 + 3.0 * factor))
