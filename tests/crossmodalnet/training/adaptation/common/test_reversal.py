import pytest
import torch
from torch import Tensor

from crossmodalnet.training.adaptation.adapter import branch, reverse_gradient


def _through(
    x: Tensor, num_source: int, strengths: list[float], cap: float, weights: list[Tensor | None]
) -> Tensor:
    """Gradient of x where the i-th way out is weighed with `weights[i]`, whose gradients they are thus."""
    x = x.clone().requires_grad_()
    ways = branch(x, num_source, strengths, cap)
    sum((way * w).sum() for way, w in zip(ways, weights, strict=True) if w is not None).backward()
    assert x.grad is not None
    return x.grad


@pytest.mark.parametrize("strength", [0.0, 0.3, 2.0])
def test_reversal_keeps_the_value_and_turns_the_gradient_round(strength: float) -> None:
    x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    y = reverse_gradient(x, strength)
    assert torch.equal(y, x)
    (y * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    torch.testing.assert_close(x.grad, -strength * torch.tensor([1.0, 10.0, 100.0]))


def test_descent_through_a_reversal_climbs() -> None:
    x = torch.tensor(1.0, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        reverse_gradient(x, 1.0).square().backward()
        optimizer.step()
    assert x.item() == pytest.approx(1.2**10, rel=1e-5)


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
