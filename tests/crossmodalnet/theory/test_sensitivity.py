import pytest
import torch

from crossmodalnet.networks.crossmodalnet.blocks import WindowAttention
from crossmodalnet.theory import sensitivity
from tests.crossmodalnet.theory.subjects import unit_attention


def search(function, x, iterations=60, step=1e-3, **options):
    options["generator"] = torch.Generator().manual_seed(0)
    return list(sensitivity.power_iteration(function, x, iterations=iterations, step=step, **options))


def test_power_iteration_finds_the_largest_singular_value():
    matrix = torch.randn(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = search(lambda x: matrix @ x, torch.zeros(5, dtype=torch.float64))
    assert found[-1] == pytest.approx(float(torch.linalg.svdvals(matrix)[0]), rel=1e-6)
    assert len(found) == 60


def test_power_iteration_never_exceeds_the_constant():
    # |sin| has slope at most 1, and less wherever it bends.
    found = search(lambda x: torch.sin(3 * x), torch.linspace(-2, 2, 9), step=0.1)
    assert 2.9 < max(found) <= 3


def test_power_iteration_stops_at_convergence():
    found = search(lambda x: 2 * x, torch.zeros(4), tolerance=1e-3)
    assert found == pytest.approx([2, 2], rel=1e-3)


def test_a_constant_function_does_not_divide_by_zero():
    assert search(lambda x: 0 * x, torch.ones(3), iterations=3) == [0, 0, 0]


def test_growth_by_hand():
    # One channel, weights of 1: the zero query weighs all values alike, dv/dq is their variance, which is c^2 / 4.
    f = torch.tensor([[0.0], [1.0]])
    growth = dict(sensitivity.cross_growth(unit_attention(1), f, f, seed=0))
    assert growth[1000.0] == pytest.approx(1000**2 / 4, rel=1e-3)
    assert sensitivity.growth_factor(list(growth.items())) > 1000


def test_self_growth_is_of_the_trained_weights():
    attention = WindowAttention(2, 1, (1, 1, 2))
    attention.qkv.weight.data = torch.eye(2).repeat(3, 1)
    growth = dict(sensitivity.self_growth(attention, torch.tensor([[5.0, 5.0], [1.0, 0.0]]), seed=0))
    # The covariance of the tokens (0, 0) and (c, 0) is c^2 / 4, over sqrt(2).
    assert growth[1000.0] == pytest.approx(1000**2 / 4 / 2**0.5, rel=1e-3)
