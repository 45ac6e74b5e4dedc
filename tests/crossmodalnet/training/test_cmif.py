import numpy as np
import pytest
import torch

from crossmodalnet.training.cmif import cmif_penalty, gaussian_information


def _correlated(information, dim, num_samples, seed):
    """Gaussian samples (n, dim) whose mutual information, spread over the dimensions, is known."""
    rng = np.random.default_rng(seed)
    rho = np.sqrt(1 - np.exp(-2 * information / dim))
    x = rng.standard_normal((num_samples, dim))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(x.shape)


def _maps(*streams):
    """Feature maps (1, dim, 8, 8, n / 64) with these tokens."""
    return [torch.as_tensor(s.T.reshape(1, s.shape[1], 8, 8, -1), dtype=torch.float32) for s in streams]


def _layers(*informations):
    return [_maps(*_correlated(value, 2, 4096, seed)) for seed, value in enumerate(informations)]


def _penalty(layers):
    return cmif_penalty(layers, seed=0, num_tokens=4096, components=2)


@pytest.mark.parametrize("information", [0.0, 0.5, 2.0])
def test_unbiased_on_gaussians_of_known_information(information):
    pairs = [_correlated(information, 3, 60, seed) for seed in range(400)]
    x, y = (torch.as_tensor(np.stack(stream), dtype=torch.float32) for stream in zip(*pairs, strict=True))
    # Shrinkage takes 0.02 nats away at most here.
    assert gaussian_information(x, y).mean().item() == pytest.approx(information, abs=0.04)


def test_nothing_to_penalise_where_information_rises_ever_faster():
    assert _penalty(_layers(0.1, 0.3, 0.9)).item() == 0
    assert _penalty(_layers(0.5)).item() == 0


def test_penalty_of_a_falling_and_of_a_slowing_flow_by_hand():
    # Flows 0.5 and -0.3: -(-0.3) for the loss and 0.5 + 0.3 for the growth.
    assert _penalty(_layers(0.5, 1.0, 0.7)).item() == pytest.approx(0.3 + 0.8, abs=0.12)
    # Flows 0.6 and 0.2: less growth alone.
    assert _penalty(_layers(0.2, 0.8, 1.0)).item() == pytest.approx(0.4, abs=0.12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_constant_and_identical_features_are_finite(dtype):
    varying = torch.randn(2, 6, 4, 4, 4)
    maps = [varying.to(dtype), torch.full_like(varying, 3.0, dtype=dtype), varying.to(dtype) * 1e4]
    for stream in maps:
        stream.requires_grad_()
    a, constant, large = maps
    cmif_penalty([(a, a), (constant, constant), (a, constant), (large, a)], seed=0).backward()
    assert all(stream.grad.isfinite().all() for stream in maps)


def test_same_under_autocast():
    layers = _layers(1.0, 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = _penalty(layers)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, _penalty(layers))


def test_mean_over_equal_shares_is_the_value_of_the_batch():
    layers = list(torch.randn(3, 2, 4, 6, 4, 4, 4))
    whole = cmif_penalty(layers, seed=3)
    halves = [cmif_penalty([(a[s], b[s]) for a, b in layers], seed=3) for s in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(whole, (halves[0] + halves[1]) / 2)
    assert not torch.equal(whole, cmif_penalty(layers, seed=4))


def test_gradients_agree_with_differences():
    layers = torch.randn(3, 2, 1, 2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: cmif_penalty(list(x), seed=0, components=2), layers)


def test_few_tokens_leave_fewer_components_and_too_few_are_refused():
    assert cmif_penalty([torch.randn(2, 1, 8, 2, 2, 2)] * 2, seed=0).item() >= 0
    with pytest.raises(ValueError, match="at least 6 tokens per map, got 4"):
        cmif_penalty([torch.randn(2, 1, 8, 1, 2, 2)], seed=0)
    with pytest.raises(ValueError, match="at least one layer"):
        cmif_penalty([], seed=0)


def test_a_nan_stays_a_nan():
    bad = torch.full((1, 4, 3, 3, 3), torch.nan)
    assert cmif_penalty([(bad, bad), (bad, bad)], seed=0).isnan()
