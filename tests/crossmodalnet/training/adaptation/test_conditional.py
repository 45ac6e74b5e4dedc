import pytest
import torch

from crossmodalnet.training.adaptation.conditional import ConditionalMap, entropy_weights


def _draw(n, c, k):
    return torch.randn(n, c), torch.randn(n, k).softmax(1)


def test_outer_product_is_that_of_einsum():
    features, posteriors = _draw(7, 5, 3)
    found = ConditionalMap(5, 3)(features, posteriors)
    assert torch.equal(found, torch.einsum("ni,nj->nij", features, posteriors).reshape(7, 15))


@pytest.mark.parametrize("max_dim", [6, 5])
def test_only_features_get_a_gradient(max_dim):
    features, posteriors = (x.requires_grad_() for x in _draw(4, 3, 2))
    ConditionalMap(3, 2, max_dim=max_dim)(features, posteriors).square().sum().backward()
    assert features.grad.abs().min() > 0
    assert posteriors.grad is None


@pytest.mark.parametrize(("max_dim", "out_dim"), [(12, 12), (11, 11), (4096, 12)])
def test_the_map_is_random_where_the_product_is_too_long(max_dim, out_dim):
    mapping = ConditionalMap(4, 3, max_dim=max_dim)
    features, posteriors = _draw(6, 4, 3)
    assert mapping.out_dim == out_dim
    assert mapping(features, posteriors).shape == (6, out_dim)
    assert mapping(features[:0], posteriors[:0]).shape == (0, out_dim)
    assert len(dict(mapping.named_buffers())) == (2 if max_dim == 11 else 0)
    assert not list(mapping.parameters())


def test_random_map_keeps_inner_products() -> None:
    features, posteriors = _draw(10, 40, 8)
    exact = torch.einsum("ni,nj->nij", features, posteriors).flatten(1)
    gram = exact @ exact.mT
    module, generator = ConditionalMap(40, 8, max_dim=300), torch.Generator().manual_seed(1)
    grams = torch.empty(400, 10, 10)
    for index in range(len(grams)):
        module.random_features.normal_(generator=generator)
        module.random_posteriors.normal_(generator=generator)
        random = module(features, posteriors)
        grams[index] = random @ random.mT
    # Unbiased: the mean is right within its standard error (5 of them, 100 entries).
    assert ((grams.mean(0) - gram).abs() < 5 * grams.std(0) / len(grams) ** 0.5).all()
    # Fourth moments of a normal are 3, so a squared length x has variance (3 * 3 - 1) x^2 / 300.
    spread = (grams - gram).square().mean(0).diagonal() / (8 * gram.diagonal().square() / 300)
    assert spread.mean().item() == pytest.approx(1, abs=0.2)


def test_random_map_leaves_the_global_generator():
    before = torch.get_rng_state()
    a, b = (ConditionalMap(40, 8, max_dim=50) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a.random_features, b.random_features)


def test_entropy_weights_by_hand():
    posteriors = torch.tensor([[1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    weights = entropy_weights(posteriors)
    # 1 + exp(0) = 2 and 1 + exp(-log 2) = 3/2: mean 7/4.
    torch.testing.assert_close(weights, torch.tensor([8 / 7, 6 / 7]))
    assert not weights.requires_grad
    assert entropy_weights(posteriors[:0]).shape == (0,)
