"""Side branches of a forward pass: their values, and the sign, strength and cap of their gradients."""

import pytest
import torch
from torch import Tensor

from crossmodalnet.training.adaptation.adapter import Forks, branch


def _through(
    x: Tensor, num_source: int, strengths: list[float], cap: float, weights: list[Tensor | None]
) -> Tensor:
    """Gradient of x where the i-th way out is weighed with `weights[i]`, whose gradients they are thus."""
    x = x.clone().requires_grad_()
    ways = branch(x, num_source, strengths, cap)
    sum((way * w).sum() for way, w in zip(ways, weights, strict=True) if w is not None).backward()
    assert x.grad is not None
    return x.grad


def test_every_way_of_a_branch_has_the_features_themselves() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    ways = branch(x, 2, [-1.0, 0.5], 1.0)
    assert len(ways) == 3
    assert all(torch.equal(way, x) for way in ways)


@pytest.mark.parametrize("strength", [-0.5, 0.5])
def test_a_side_below_the_cap_has_its_strength_and_sign(strength: float) -> None:
    main = torch.tensor([[3.0, 4.0], [0.0, 0.0]])  # norm 5 on the source
    side = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    found = _through(torch.ones(2, 2), 1, [strength], 1.0, [main, side])
    torch.testing.assert_close(found, main + strength * side)


@pytest.mark.parametrize("strength", [-7.0, 7.0])
def test_a_side_above_the_cap_has_its_norm(strength: float) -> None:
    main = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    side = torch.tensor([[30.0, 0.0], [0.0, 40.0]])  # norm 50, times 7
    found = _through(torch.ones(2, 2), 1, [strength], 0.2, [main, side])
    # 0.2 of 5 is 1.
    expected = main + (1.0 if strength > 0 else -1.0) * side / 50
    torch.testing.assert_close(found, expected)


def test_the_cap_is_of_the_source_alone_and_of_each_side_by_itself() -> None:
    main = torch.tensor([[3.0, 4.0], [300.0, 400.0]])
    large, small = torch.tensor([[0.0, 20.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    found = _through(torch.ones(2, 2), 1, [-1.0, -1.0], 1.0, [main, large, small])
    torch.testing.assert_close(found, main - torch.tensor([[0.0, 5.0], [0.0, 0.0]]) - small)


def test_an_unused_side_changes_nothing() -> None:
    main, side = torch.ones(2, 2), torch.full((2, 2), 0.1)
    found = _through(torch.ones(2, 2), 2, [-1.0, -1.0], 1.0, [main, None, side])
    torch.testing.assert_close(found, main - side)
    torch.testing.assert_close(_through(torch.ones(2, 2), 2, [-1.0], 1.0, [main, None]), main)


@pytest.mark.parametrize("main", [None, torch.zeros(2, 2)])
def test_without_a_supervised_gradient_no_side_moves_the_features(main: Tensor | None) -> None:
    x = torch.ones(2, 2, requires_grad=True)
    way, side = branch(x, 1, [-1.0], 1.0)
    loss = (side * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum()
    (loss if main is None else loss + (way * main).sum()).backward()
    assert x.grad is None or torch.equal(x.grad, torch.zeros(2, 2))


def test_a_nan_in_a_side_is_seen() -> None:
    side = torch.tensor([[torch.nan, 1.0]])
    assert _through(torch.ones(1, 2), 1, [-1.0], 1.0, [torch.ones(1, 2), side]).isnan().any()


class _Term:
    def __init__(self, *places, is_reversed=False):
        self.places, self.is_reversed = places, is_reversed


FORKED = {"a": _Term("decoder"), "b": _Term("decoder", "output", is_reversed=True), "c": _Term("bottleneck")}
FORK_STRENGTHS = {"a": 0.5, "b": 0.25, "c": 1.0}


def _forks():
    return Forks(FORKED, FORK_STRENGTHS, ramp=0.5, num_source=1, cap=1e6)


def test_each_term_sees_its_places_channels_first():
    forks, tokens = _forks(), torch.rand(2, 3, 4, 5, 6)
    (on,) = forks.fork("decoder", (tokens,))
    assert torch.equal(on, tokens)
    assert [list(forks.views[name]) for name in "abc"] == [["decoder"], ["decoder"], []]
    for seen in (forks.views["a"]["decoder"][0], forks.main["decoder"][0]):
        assert torch.equal(seen, tokens.movedim(-1, 1))


def test_logits_are_channels_first_already():
    forks, logits = _forks(), torch.rand(2, 8, 3, 4, 5)
    forks.fork("output", (logits,))
    assert torch.equal(forks.views["b"]["output"][0], logits)


@pytest.mark.parametrize(("name", "factor"), [("a", 0.25), ("b", -0.125)])
def test_gradients_come_back_by_ramp_strength_and_sign(name, factor):
    forks, tokens = _forks(), torch.rand(2, 1, 1, 1, 4, requires_grad=True)
    (on,) = forks.fork("decoder", (tokens,))
    (on.sum() + 3.0 * forks.views[name]["decoder"][0].sum()).backward()
    torch.testing.assert_close(tokens.grad, torch.full_like(tokens, 1 + 3.0 * factor))
