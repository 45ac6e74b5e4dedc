import math

import numpy as np
import pytest
import torch

from crossmodalnet.training.adaptation.conditional import ConditionalMap, entropy_weights, outer_product


def _draw(n: int, c: int, k: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, c, generator=generator), torch.randn(n, k, generator=generator).softmax(1)


def test_outer_product_is_that_of_einsum_and_of_numpy() -> None:
    features, posteriors = _draw(7, 5, 3)
    found = ConditionalMap(5, 3)(features, posteriors)
    assert torch.equal(found, torch.einsum("ni,nj->nij", features, posteriors).reshape(7, 15))
    for row, f, p in zip(found, features, posteriors, strict=True):
        np.testing.assert_array_equal(row.numpy(), np.outer(f.numpy(), p.numpy()).ravel())


def test_outer_product_gives_gradients_to_both_and_the_map_to_features_alone() -> None:
    features, posteriors = (x.requires_grad_() for x in _draw(4, 3, 2))
    outer_product(features, posteriors).sum().backward()
    assert posteriors.grad is not None
    for max_dim in (6, 5):
        features.grad = posteriors.grad = None
        ConditionalMap(3, 2, max_dim=max_dim)(features, posteriors).square().sum().backward()
        assert features.grad is not None
        assert features.grad.abs().min() > 0
        assert posteriors.grad is None


@pytest.mark.parametrize(("max_dim", "out_dim"), [(12, 12), (11, 11), (4096, 12)])
def test_the_map_is_random_where_the_product_is_too_long(max_dim: int, out_dim: int) -> None:
    mapping = ConditionalMap(4, 3, max_dim=max_dim)
    features, posteriors = _draw(6, 4, 3)
    assert mapping.out_dim == out_dim
    assert mapping(features, posteriors).shape == (6, out_dim)
    assert mapping(features[:0], posteriors[:0]).shape == (0, out_dim)
    assert len(dict(mapping.named_buffers())) == (2 if max_dim == 11 else 0)
    assert not list(mapping.parameters())


def test_random_map_keeps_inner_products() -> None:
    features, posteriors = _draw(10, 40, 8)
    exact = outer_product(features, posteriors)
    gram = exact @ exact.mT
    found = [ConditionalMap(40, 8, max_dim=300, seed=seed)(features, posteriors) for seed in range(400)]
    grams = torch.stack([x @ x.mT for x in found])
    # Unbiased: the mean over the seeds is right within its standard error (5 of them, 100 entries).
    error = grams.std(0) / math.sqrt(len(found))
    assert ((grams.mean(0) - gram).abs() < 5 * error).all()
    # Fourth moments of a normal are 3, so a squared length x has variance (3 * 3 - 1) x^2 / 300.
    spread = (grams - gram).square().mean(0).diagonal() / (8 * gram.diagonal().square() / 300)
    assert spread.mean().item() == pytest.approx(1, abs=0.2)


def test_the_matrices_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a, b, other = (ConditionalMap(40, 8, max_dim=50, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a.random_features, b.random_features)
    assert torch.equal(a.random_posteriors, b.random_posteriors)
    assert not torch.equal(a.random_features, other.random_features)
    # Another pair of streams would make features and posteriors dependent.
    assert not torch.equal(a.random_features[:8], a.random_posteriors)


def test_entropy_weights_by_hand() -> None:
    posteriors = torch.tensor([[1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    weights = entropy_weights(posteriors)
    # 1 + exp(0) = 2 and 1 + exp(-log 2) = 3/2: mean 7/4.
    torch.testing.assert_close(weights, torch.tensor([8 / 7, 6 / 7]))
    assert not weights.requires_grad
    assert entropy_weights(posteriors[:0]).shape == (0,)


def test_dimensions_are_checked() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        ConditionalMap(4, 0)
