import torch

from crossmodalnet.training.adaptation.conditional import conditional_map, entropy_weights


def test_the_map_is_the_outer_product_and_only_features_get_a_gradient():
    features, posteriors = torch.randn(7, 5, requires_grad=True), torch.rand(7, 3, requires_grad=True)
    joined = conditional_map(features, posteriors)
    assert torch.equal(joined, torch.einsum("ni,nj->nij", features, posteriors).reshape(7, 15))
    joined.square().sum().backward()
    assert features.grad.abs().min() > 0
    assert posteriors.grad is None


def test_entropy_weights_by_hand():
    posteriors = torch.tensor([[1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    weights = entropy_weights(posteriors)
    # 1 + exp(0) = 2 and 1 + exp(-log 2) = 3/2: mean 7/4.
    torch.testing.assert_close(weights, torch.tensor([8 / 7, 6 / 7]))
    assert not weights.requires_grad
    assert entropy_weights(posteriors[:0]).shape == (0,)
