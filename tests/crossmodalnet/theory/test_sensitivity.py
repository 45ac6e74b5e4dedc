import pytest
import torch

from crossmodalnet.theory.sensitivity import power_iteration, pull_back


def search(function, x, **options):
    random = torch.Generator().manual_seed(0)
    return list(
        power_iteration(function, x, **{"iterations": 60, "step": 1e-3, "generator": random, **options})
    )


def test_it_finds_the_largest_singular_value():
    matrix = torch.randn(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = search(lambda x: matrix @ x, torch.zeros(5, dtype=torch.float64))
    assert found[-1] == pytest.approx(float(torch.linalg.svdvals(matrix)[0]), rel=1e-6)
    assert len(found) == 60


def test_it_never_exceeds_the_constant():
    # |sin| has slope at most 1, and less wherever it bends.
    found = search(lambda x: torch.sin(3 * x), torch.linspace(-2, 2, 9), step=0.1)
    assert 2.9 < max(found) <= 3


def test_it_stops_when_it_gains_no_more():
    found = search(lambda x: 2 * x, torch.zeros(4), tolerance=1e-3)
    assert found == pytest.approx([2, 2], rel=1e-3)


def test_a_constant_function_does_not_divide_by_zero():
    assert search(lambda x: 0 * x, torch.ones(3), iterations=3) == [0, 0, 0]


def test_pull_back_is_the_transpose():
    matrix = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    pulled = pull_back(lambda x: matrix @ x, torch.zeros(2), torch.tensor([1.0, 0.0, 1.0]))
    assert pulled.tolist() == [6.0, 8.0]


def test_the_global_generator_is_left_alone():
    state = torch.random.get_rng_state()
    search(lambda x: 2 * x, torch.zeros(4))
    assert torch.equal(state, torch.random.get_rng_state())
