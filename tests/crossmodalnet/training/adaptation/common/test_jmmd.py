import numpy as np
import pytest
import torch

from crossmodalnet.training.adaptation.jmmd import joint_mmd


def _sample(n: int, shift: float, seed: int, c: int = 4, k: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, c, generator=generator, dtype=torch.float64) + shift
    return features, torch.randn(n, k, generator=generator, dtype=torch.float64).softmax(1)


def _naive(*samples: torch.Tensor) -> float:
    source_features, source_posteriors, target_features, target_posteriors = (x.numpy() for x in samples)
    rows = (
        np.concatenate([source_features, target_features]),
        np.concatenate([source_posteriors, target_posteriors]),
    )
    n, total = len(source_features), sum(len(x) for x in (source_features, target_features))

    def square(x: np.ndarray, i: int, j: int) -> float:
        return float(sum((a - b) ** 2 for a, b in zip(x[i], x[j], strict=True)))

    medians = []
    for x in rows:
        squares = sorted(square(x, i, j) for i in range(total) for j in range(i))
        medians.append(squares[(len(squares) - 1) // 2])  # torch's median: the lower of the middle two
    value = 0.0
    for i in range(total):
        for j in range(total):
            kernel = 1.0
            for x, median in zip(rows, medians, strict=True):
                kernel *= sum(np.exp(-square(x, i, j) / (s * median)) for s in (0.25, 0.5, 1, 2, 4)) / 5
            side = {0: 1 / n, 1: -1 / (total - n)}
            value += side[i >= n] * side[j >= n] * kernel
    return value


@pytest.mark.parametrize("seed", range(3))
def test_against_a_naive_double_loop(seed: int) -> None:
    samples = (*_sample(9, 0, seed), *_sample(6, 1, seed + 10))
    found = joint_mmd(*samples).item()
    assert found == pytest.approx(_naive(*samples), rel=1e-9)
    assert found > 0
    single = joint_mmd(*(x.float() + 100 for x in samples)).item()
    assert single == pytest.approx(found, rel=1e-3)  # far from the origin, in single precision


def test_zero_for_equal_samples_in_any_order() -> None:
    features, posteriors = _sample(8, 0, 0)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    found = joint_mmd(features, posteriors, features[order], posteriors[order])
    assert found.item() == pytest.approx(0, abs=1e-12)


def test_sees_a_shift_of_the_pairing_that_both_margins_hide() -> None:
    features = torch.tensor([[1.0], [-1.0]]).repeat(20, 1)
    posteriors = torch.eye(2).repeat(20, 1)
    assert joint_mmd(features, posteriors, features.flip(0), posteriors.flip(0)).item() == pytest.approx(
        0, abs=1e-6
    )
    assert joint_mmd(features, posteriors, features, posteriors.flip(0)) > 0.3


def test_descent_moves_a_shift_until_classes_agree() -> None:
    source, _ = _sample(60, 0, 0)
    posteriors = torch.eye(2, dtype=torch.float64)[torch.arange(60) % 2]
    source = source + 4 * posteriors[:, :1]
    shift = torch.nn.Parameter(torch.tensor([2.0, -1.0, 1.0, 3.0], dtype=torch.float64))
    optimizer = torch.optim.Adam([shift], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        joint_mmd(source, posteriors, source[20:].roll(1, 0) + shift, posteriors[20:].roll(1, 0)).backward()
        optimizer.step()
    assert shift.abs().max().item() < 0.3


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 0), (0, 0), (1, 1)])
def test_few_or_no_rows_are_finite(n: int, m: int) -> None:
    inputs = [x.requires_grad_() for x in (*_sample(n, 0, 0), *_sample(m, 1, 1))]
    found = joint_mmd(*inputs)
    found.backward()
    assert found.isfinite()
    assert all(x.grad is not None and bool(x.grad.isfinite().all()) for x in inputs)
    if not n or not m:
        assert found.item() == 0


def test_coinciding_rows_are_finite() -> None:
    same = torch.ones(5, 3, requires_grad=True)
    one_hot = torch.eye(2)[[0, 0, 0, 0, 1]].requires_grad_()
    found = joint_mmd(same, one_hot, same, one_hot.detach().flip(0))
    found.backward()
    assert found.isfinite()
    assert same.grad is not None
    assert one_hot.grad is not None
    assert same.grad.isfinite().all()
    assert one_hot.grad.isfinite().all()


def test_gradient_agrees_with_differences_where_the_median_is_that_of_other_rows() -> None:
    # Squared distances 0.09, 94.09, 100, 100, 388.09, 400: the median is between rows that stay.
    source = torch.tensor([[0.0], [10.0], [20.0]], dtype=torch.float64)
    posteriors = torch.eye(3, dtype=torch.float64)
    inputs = (
        torch.tensor([[0.3]], dtype=torch.float64, requires_grad=True),
        torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64),
    )
    assert torch.autograd.gradcheck(lambda x: joint_mmd(source, posteriors, x, inputs[1]), inputs[:1])
