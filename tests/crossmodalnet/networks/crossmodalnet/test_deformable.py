import pytest
import torch
from torch.nn import functional

from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator, deformable_sample


def by_grid_sample(features, offsets, weights):
    """Eq. 7 by torch's own trilinear sampler."""
    size = torch.tensor(features.shape[1:4])
    here = torch.stack(torch.meshgrid(*map(torch.arange, size), indexing="ij"), dim=-1).to(features.dtype)
    out = torch.zeros_like(features)
    for k, weight in enumerate(weights):
        position = here + offsets[..., k, :]
        grid = (2 * position / (size - 1).clamp(min=1) - 1).flip(-1).expand(len(features), -1, -1, -1, -1)
        sampled = functional.grid_sample(features.movedim(-1, 1), grid, padding_mode="border", align_corners=True)
        out = out + weight * sampled.movedim(1, -1)
    return out


@pytest.mark.parametrize("size", [(4, 5, 6), (2, 3, 2)])
@pytest.mark.parametrize("shared", [True, False])
def test_agrees_with_grid_sample(size, shared):
    features = torch.randn(2, *size, 3, dtype=torch.float64)
    offsets = 3 * torch.randn(1 if shared else 2, *size, 4, 3, dtype=torch.float64)
    weights = torch.randn(4, dtype=torch.float64)
    expected = by_grid_sample(features, offsets, weights)
    torch.testing.assert_close(deformable_sample(features, offsets, weights), expected)


def test_gradients_agree_with_finite_differences():
    features = torch.randn(1, 3, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    offsets = (0.3 * torch.rand(1, 3, 4, 2, 2, 3, dtype=torch.float64) + 0.1).requires_grad_()
    weights = torch.randn(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(deformable_sample, (features, offsets, weights))


@pytest.mark.parametrize("kind", ["static", "predicted"])
def test_offsets_are_bounded(kind):
    operator = DeformableOperator(2, (3, 4, 5), num_points=2, max_offset=1.5, offsets=kind)
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter.mul_(1e4)
    offsets = operator.offsets(torch.randn(1, 3, 4, 5, 2))
    assert offsets.shape == (1, 3, 4, 5, 2, 3)
    assert 1.4 < offsets.abs().max() <= 1.5


@pytest.mark.parametrize("kind", ["static", "predicted"])
def test_starts_near_the_identity(kind):
    operator = DeformableOperator(3, (6, 6, 6), num_points=4, offsets=kind)
    features = torch.randn(1, 6, 6, 6, 3)
    assert operator.offsets(features).abs().max() < 1
    assert (operator(features) - features).abs().mean() < 0.35 * features.abs().mean()


def test_predicted_offsets_take_any_size_and_differ_by_case():
    operator = DeformableOperator(3, (3, 4, 5), offsets="predicted")
    features = torch.randn(2, 6, 2, 3, 3)
    offsets = operator.offsets(features)
    assert offsets.shape == (2, 6, 2, 3, 4, 3)
    assert not torch.allclose(offsets[0], offsets[1])
    assert operator(features).shape == features.shape


def test_static_offsets_are_tied_to_their_size():
    with pytest.raises(ValueError, match=r"static .* \(3, 4, 5\), got \(3, 4, 6\)"):
        DeformableOperator(2, (3, 4, 5))(torch.zeros(1, 3, 4, 6, 2))
