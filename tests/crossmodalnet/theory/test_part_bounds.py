"""Every constant against the largest singular value of a dense Jacobian, and tight where it must be."""

import math

import pytest
import torch
from torch import nn

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.blocks import WindowAttention
from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator
from crossmodalnet.theory import part_bounds
from crossmodalnet.theory.part_bounds import layer
from tests.crossmodalnet.theory.subjects import points, stretch, tokens, unit_attention, vary

EXACT: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Identity(), (3,)),
    (nn.Linear(5, 7), (1, 5)),
    (nn.Conv3d(3, 4, 1), (1, 3, 2, 2, 2)),
    (nn.Conv3d(2, 3, (2, 2, 2), (2, 2, 2)), (1, 2, 4, 4, 6)),
    (nn.Conv3d(2, 3, (1, 2, 3), (1, 2, 3)), (1, 2, 4, 4, 6)),
    (nn.ConvTranspose3d(2, 3, (1, 2, 3), (1, 2, 3)), (1, 2, 2, 1, 2)),
    (nn.AvgPool3d((1, 2, 3)), (1, 2, 2, 4, 3)),
    (nn.LeakyReLU(0.01), (64,)),
    (nn.LeakyReLU(-2.0), (64,)),
]
STRIDES = [(1, 1, 1), (2, 2, 2), (1, 2, 3), (4, 2, 1)]
CONVOLUTIONS = [*(nn.Conv3d(2, 3, 3, s, 1) for s in STRIDES), nn.Conv3d(2, 3, (2, 3, 1), (2, 1, 2))]


@pytest.mark.parametrize(("module", "shape"), EXACT, ids=str)
def test_layers_with_exact_bounds(module, shape):
    truth = stretch(vary(module), torch.randn(shape))
    assert math.exp(layer(module)) == pytest.approx(truth, rel=1e-5)


def test_unknown_layers_are_rejected():
    with pytest.raises(TypeError, match="Tanh"):
        layer(nn.Tanh())


def test_a_layer_of_zeros_has_a_finite_logarithm():
    module = nn.Linear(3, 3)
    nn.init.zeros_(module.weight)
    assert -1000 < layer(module) < -600


@pytest.mark.parametrize("module", CONVOLUTIONS, ids=str)
def test_convolution(module):
    for _ in range(3):
        bound = math.exp(layer(vary(module)))
        assert stretch(module, torch.randn(1, 2, 4, 6, 5)) <= bound * (1 + 1e-5)


def test_offsets_that_pick_different_voxels_are_joined_and_others_added():
    module = nn.Conv3d(1, 1, (3, 1, 1), (2, 1, 1), (1, 0, 0), bias=False)
    module.weight.data = torch.tensor([3.0, 20.0, 4.0]).view(1, 1, 3, 1, 1)
    # Odd voxels are seen by two neighbours, with 3 and 4; even ones by one, with 20.
    assert stretch(module, torch.randn(1, 1, 64, 1, 1)) == pytest.approx(math.hypot(7, 20), rel=1e-3)
    assert math.exp(layer(module)) == pytest.approx(math.hypot(7, 20), rel=1e-5)


def test_a_voxel_counts_by_the_patches_that_hold_it():
    # An output for each offset: all 27 of the kernel's patches hold a voxel, with orthogonal results.
    module = nn.Conv3d(1, 27, 3, padding=1, bias=False)
    module.weight.data = torch.eye(27).view(27, 1, 3, 3, 3)
    assert stretch(module, torch.randn(1, 1, 3, 3, 3)) == pytest.approx(math.sqrt(27))
    assert math.exp(layer(module)) == pytest.approx(math.sqrt(27))


@pytest.mark.parametrize(
    ("norm", "shape"),
    [(nn.LayerNorm(6), (2, 6)), (nn.GroupNorm(2, 2), (1, 2, 2, 2, 2)),
     (nn.InstanceNorm3d(2, affine=True), (2, 2, 2, 1, 2))],
)  # fmt: skip
def test_normalisation(norm, shape):
    bound = math.exp(layer(vary(norm)))
    assert all(stretch(norm, x) <= bound * (1 + 1e-5) for x in points(*shape))
    nn.init.ones_(norm.weight)  # a constant input has no variance, which is the worst case
    assert math.exp(layer(norm)) == pytest.approx(stretch(norm, torch.ones(shape)), rel=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
def test_token_radius(bias):
    norm = nn.LayerNorm(6, bias=bias)
    vary(norm)
    radius = part_bounds.token_radius(norm)
    assert all(norm(x).norm(dim=-1).max() <= radius for x in points(100, 6))
    plain = nn.LayerNorm(6, bias=bias)
    reached = plain(torch.randn(100, 6)).norm(dim=-1).max().item()
    assert part_bounds.token_radius(plain) == pytest.approx(reached, rel=1e-3)


def test_gelu_is_steepest_at_the_square_root_of_two():
    x = torch.linspace(-5, 5, 100_001, dtype=torch.float64, requires_grad=True)
    nn.functional.gelu(x).sum().backward()
    assert float(x.grad.max()) == pytest.approx(part_bounds.GELU_SLOPE, abs=1e-8)


@pytest.mark.parametrize("radius", [0.3, 2.0, 10.0])
def test_self_attention(radius):
    attention = vary(WindowAttention(4, 2, (2, 2, 1)))
    bound = math.exp(part_bounds.self_attention(attention, radius, 4))
    for _ in range(5):
        assert stretch(attention, tokens(4, 4, radius)) <= bound


@pytest.mark.parametrize("values", ["a", "b"])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_cross_attention(values, similarity):
    attention = vary(CrossAttention(4, 2, values=values, similarity=similarity))
    bounds = part_bounds.cross_attention(attention, 2.0, 3.0, 5)
    for _ in range(5):
        pair = tokens(5, 4, 2.0), tokens(5, 4, 3.0)
        for argument, bound in enumerate(bounds):
            assert stretch(attention, *pair, argument=argument) <= math.exp(bound)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_attention_to_one_token_alone_is_exact_in_its_values(similarity):
    # All n queries fetch the same one of n values: the worst case of a row-stochastic matrix, sqrt(n).
    attention = unit_attention(2, values="a", similarity=similarity)
    values, *_ = part_bounds.scaled_attention(torch.eye(2), torch.eye(2), torch.eye(2), 1, (1, 1, 1), 9)
    assert math.exp(values) == pytest.approx(3)
    queries, keys = torch.tensor([[[30.0, 0.0]]]).expand(1, 9, 2), torch.zeros(1, 9, 2)
    keys = torch.cat([torch.tensor([[[30.0, 0.0]]]), keys[:, 1:] + torch.tensor([-30.0, 0.0])], dim=1)
    truth = stretch(lambda k: attention(k, queries), keys)
    assert truth <= math.exp(part_bounds.cross_attention(attention, 30, 30, 9)[0])
    if similarity == "dot":
        assert truth == pytest.approx(3, rel=1e-3)


def test_attention_of_two_tokens_reaches_its_constant_in_the_query():
    # Keys and values +-1 weighed alike have covariance 1: |dv/dq| = |v| |k| = 1.
    attention = unit_attention(1, values="a")
    keys, query = torch.tensor([[[1.0], [-1.0]]]), torch.zeros(1, 1, 1)
    assert stretch(attention, keys, query, argument=1) == pytest.approx(1)
    assert part_bounds.cross_attention(attention, 1.0, 1.0, 2)[1] == pytest.approx(0, abs=1e-6)


def test_keys_that_all_queries_share_come_close_to_their_constant():
    # Eight queries 30 weigh two keys alike, with values +-1: 30 / sqrt(2) sqrt(8 / 2), half of it by each key.
    attention = unit_attention(2, values="a")
    for projection, unused in ((attention.query, 1), (attention.key, 1), (attention.value, 0)):
        projection.weight.data[unused] = 0
    f_a = torch.tensor([[[0.0, 1.0], [0.0, -1.0], *[[-1.0, 0.0]] * 6]])
    truth = stretch(attention, f_a, torch.tensor([[[30.0, 0.0]] * 8]))
    assert truth == pytest.approx(30 / math.sqrt(2) * 2, rel=0.02)
    bound = math.exp(part_bounds.cross_attention(attention, 1.0, 30.0, 8)[0])
    assert truth <= bound == pytest.approx(30 / math.sqrt(2) * math.sqrt(8) + math.sqrt(8), rel=1e-5)


@pytest.mark.parametrize("spread", [0.0, 0.5, 3.0])
def test_static_operator(spread):
    operator = DeformableOperator(1, (3, 2, 4), num_points=3)
    nn.init.normal_(operator.raw_offsets, std=spread)
    nn.init.normal_(operator.weights)
    bound = math.exp(part_bounds.deformable(operator, 1.0))
    assert stretch(operator, torch.randn(1, 3, 2, 4, 1)) <= bound * (1 + 1e-5)


def test_operator_without_offsets_is_exact():
    operator = DeformableOperator(2, (3, 2, 4), num_points=3)
    nn.init.zeros_(operator.raw_offsets)
    assert part_bounds.deformable(operator, 1.0) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("max_offset", [1.0, 2.5])
def test_predicted_operator(max_offset):
    options = {"num_points": 2, "max_offset": max_offset, "offsets": "predicted"}
    operator = vary(DeformableOperator(2, (3, 3, 3), **options))
    for scale in (0.1, 1.0):
        nn.init.normal_(operator.predict.weight, std=scale)
        f = tokens(27, 2, 2.0).view(1, 3, 3, 3, 2)
        assert stretch(operator, f) <= math.exp(part_bounds.deformable(operator, 2.0))
        assert operator(f).norm(dim=-1).max() <= part_bounds.sampled_radius(operator, 2.0)
