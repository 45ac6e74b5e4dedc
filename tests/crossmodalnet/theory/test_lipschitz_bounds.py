"""Every constant against the largest singular value of a dense Jacobian, and tight where it must be."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.layers import Mlp
from torch import Tensor, nn

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.blocks import CrossTransformerBlock, SwinBlock, WindowAttention
from crossmodalnet.networks.crossmodalnet.convolution import ResidualConvBlock
from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator
from crossmodalnet.networks.crossmodalnet.embedding import (
    ConvEmbedding,
    ConvMerging,
    PatchEmbedding,
    PatchExpanding,
    PatchMerging,
)
from crossmodalnet.networks.crossmodalnet.head import ConvHead, ConvStem, FusedHead
from crossmodalnet.networks.crossmodalnet.network import ConvSkip, SkipConnection
from crossmodalnet.theory import (
    bound_attention,
    bound_blocks,
    bound_convolution,
    bound_network,
    lipschitz_bounds,
)
from crossmodalnet.theory.sensitivity import power_iteration
from tests.crossmodalnet.theory.subjects import chosen, make_network


def stretch(function: Callable[..., Tensor], *inputs: Tensor, argument: int = 0) -> float:
    """Largest singular value of the dense Jacobian in one argument."""
    jacobian = torch.autograd.functional.jacobian(function, inputs)[argument]
    return float(torch.linalg.matrix_norm(jacobian.reshape(-1, inputs[argument].numel()).double(), 2))


def vary(module: nn.Module) -> nn.Module:
    """Draw all weights anew, norms included."""
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.7)
    return module


def points(*shape: int) -> list[Tensor]:
    """Inputs of the size of features, far from zero, and nearly constant."""
    return [torch.randn(shape), 30 * torch.randn(shape), 1e-3 * torch.randn(shape) + 1]


def test_linear_is_exact():
    layer = nn.Linear(5, 7)
    assert math.exp(lipschitz_bounds.linear(layer)) == pytest.approx(
        stretch(layer, torch.randn(1, 5)), rel=1e-5
    )
    nn.init.orthogonal_(layer.weight)
    assert lipschitz_bounds.linear(layer) == pytest.approx(0, abs=1e-6)


def test_a_layer_of_zeros_has_a_finite_logarithm():
    layer = nn.Linear(3, 3)
    nn.init.zeros_(layer.weight)
    assert -1000 < lipschitz_bounds.linear(layer) < -600


@pytest.mark.parametrize("bias", [True, False])
def test_convolution(bias):
    layer = nn.Conv3d(2, 3, 3, padding=1, bias=bias)
    assert stretch(layer, torch.randn(1, 2, 4, 3, 5)) <= math.exp(lipschitz_bounds.convolution(layer))
    pointwise = nn.Conv3d(3, 4, 1)
    truth = stretch(pointwise, torch.randn(1, 3, 2, 2, 2))
    assert math.exp(lipschitz_bounds.convolution(pointwise)) == pytest.approx(truth, rel=1e-5)


def test_convolution_that_shifts_is_exact():
    layer = nn.Conv3d(1, 1, 3, padding=1, bias=False)
    nn.init.zeros_(layer.weight)
    layer.weight.data[0, 0, 0, 1, 2] = 3.0
    assert math.exp(lipschitz_bounds.convolution(layer)) == pytest.approx(3)


STRIDED = [
    ((3, 3, 3), (2, 2, 2), 1),
    ((3, 3, 3), (1, 2, 3), 1),
    ((2, 3, 1), (2, 1, 2), 0),
    ((3, 3, 3), (4, 2, 1), 1),
]


@pytest.mark.parametrize(("kernel", "stride", "padding"), STRIDED)
def test_strided_convolution(kernel, stride, padding):
    layer = nn.Conv3d(2, 3, kernel, stride, padding)
    for _ in range(3):
        vary(layer)
        bound = math.exp(lipschitz_bounds.convolution(layer))
        assert stretch(layer, torch.randn(1, 2, 4, 6, 5)) <= bound * (1 + 1e-5)


@pytest.mark.parametrize("stride", [(2, 2, 2), (1, 2, 3)])
def test_convolution_of_blocks_of_their_own_is_exact(stride):
    down, up = nn.Conv3d(2, 3, stride, stride), nn.ConvTranspose3d(2, 3, stride, stride)
    truth = stretch(down, torch.randn(1, 2, 4, 4, 6))
    assert math.exp(lipschitz_bounds.convolution(down)) == pytest.approx(truth, rel=1e-5)
    truth = stretch(up, torch.randn(1, 2, 2, 1, 2))
    assert math.exp(lipschitz_bounds.transposed_convolution(up)) == pytest.approx(truth, rel=1e-5)


def test_offsets_that_pick_different_voxels_are_joined_and_others_added():
    layer = nn.Conv3d(1, 1, (3, 1, 1), (2, 1, 1), (1, 0, 0), bias=False)
    layer.weight.data = torch.tensor([3.0, 20.0, 4.0]).view(1, 1, 3, 1, 1)
    # Odd voxels are seen by two neighbours, with 3 and 4; even ones by one, with 20.
    assert stretch(layer, torch.randn(1, 1, 64, 1, 1)) == pytest.approx(math.hypot(7, 20), rel=1e-3)
    assert math.exp(lipschitz_bounds.convolution(layer)) == pytest.approx(math.hypot(7, 20), rel=1e-5)


def test_a_voxel_counts_by_the_patches_that_hold_it():
    # An output for each offset: all 27 of the kernel's patches hold a voxel, with orthogonal results.
    layer = nn.Conv3d(1, 27, 3, padding=1, bias=False)
    layer.weight.data = torch.eye(27).view(27, 1, 3, 3, 3)
    assert stretch(layer, torch.randn(1, 1, 3, 3, 3)) == pytest.approx(math.sqrt(27))
    assert math.exp(lipschitz_bounds.convolution(layer)) == pytest.approx(math.sqrt(27))


@pytest.mark.parametrize("stride", [(2, 2, 2), (1, 2, 3), (1, 1, 1)])
def test_average_pooling_is_exact(stride):
    truth = stretch(nn.AvgPool3d(stride), torch.randn(1, 2, 2, 4, 3))
    assert math.exp(lipschitz_bounds.average_pooling(stride)) == pytest.approx(truth)


@pytest.mark.parametrize("slope", [0.01, -2.0])
def test_leaky_relu_is_exact(slope):
    act = nn.LeakyReLU(slope)
    truth = stretch(act, torch.tensor([-1.0, 1.0]))
    assert math.exp(bound_convolution.leaky_relu(act)) == pytest.approx(truth)


@pytest.mark.parametrize(
    ("norm", "shape"),
    [(nn.LayerNorm(6), (2, 6)), (nn.GroupNorm(2, 2), (1, 2, 2, 2, 2)),
     (nn.InstanceNorm3d(2, affine=True), (2, 2, 2, 1, 2))],
)  # fmt: skip
def test_normalisation(norm, shape):
    vary(norm)
    bound = math.exp(lipschitz_bounds.normalisation(norm))
    assert all(stretch(norm, x) <= bound * (1 + 1e-5) for x in points(*shape))
    nn.init.ones_(norm.weight)  # a constant input has no variance, which is the worst case
    truth = stretch(norm, torch.ones(shape))
    assert math.exp(lipschitz_bounds.normalisation(norm)) == pytest.approx(truth, rel=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
def test_token_radius(bias):
    norm = nn.LayerNorm(6, bias=bias)
    vary(norm)
    radius = lipschitz_bounds.token_radius(norm)
    assert all(norm(x).norm(dim=-1).max() <= radius for x in points(100, 6))
    plain = nn.LayerNorm(6, bias=bias)
    reached = plain(torch.randn(100, 6)).norm(dim=-1).max().item()
    assert lipschitz_bounds.token_radius(plain) == pytest.approx(reached, rel=1e-3)


def test_gelu_is_steepest_at_the_square_root_of_two():
    x = torch.linspace(-5, 5, 100_001, dtype=torch.float64, requires_grad=True)
    nn.functional.gelu(x).sum().backward()
    assert float(x.grad.max()) == pytest.approx(lipschitz_bounds.GELU_SLOPE, abs=1e-8)


def test_mlp():
    mlp = vary(Mlp(4, 8))
    bound = math.exp(lipschitz_bounds.mlp(mlp))
    assert all(stretch(mlp, x) <= bound for x in points(1, 3, 4))


def tokens(n: int, dim: int, radius: float) -> Tensor:
    x = torch.randn(1, n, dim)
    return radius * x / x.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("radius", [0.3, 2.0, 10.0])
def test_self_attention(radius):
    attention = vary(WindowAttention(4, 2, (2, 2, 1)))
    bound = math.exp(bound_attention.self_attention(attention, radius, 4))
    for _ in range(5):
        assert stretch(attention, tokens(4, 4, radius)) <= bound


@pytest.mark.parametrize("values", ["a", "b"])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_cross_attention(values, similarity):
    attention = vary(CrossAttention(4, 2, values=values, similarity=similarity))
    bounds = bound_attention.cross_attention(attention, 2.0, 3.0, 5)
    for _ in range(5):
        pair = tokens(5, 4, 2.0), tokens(5, 4, 3.0)
        for argument, bound in enumerate(bounds):
            assert stretch(attention, *pair, argument=argument) <= math.exp(bound)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_attention_to_one_token_alone_is_exact_in_its_values(similarity):
    # All n queries fetch the same one of n values: the worst case of a row-stochastic matrix, sqrt(n).
    attention = CrossAttention(2, 1, values="a", similarity=similarity)
    for layer in (attention.query, attention.key, attention.value):
        nn.init.eye_(layer.weight)
    bound = bound_attention.dot_product(torch.eye(2), torch.eye(2), torch.eye(2), 1, (1, 1, 1), 9)
    assert math.exp(bound.values) == pytest.approx(3)
    queries, keys = torch.tensor([[[30.0, 0.0]]]).expand(1, 9, 2), torch.zeros(1, 9, 2)
    keys = torch.cat([torch.tensor([[[30.0, 0.0]]]), keys[:, 1:] + torch.tensor([-30.0, 0.0])], dim=1)
    truth = stretch(lambda k: attention(k, queries), keys)
    assert truth <= math.exp(bound_attention.cross_attention(attention, 30, 30, 9)[0])
    if similarity == "dot":
        assert truth == pytest.approx(3, rel=1e-3)


def test_attention_of_two_tokens_reaches_its_constant_in_the_query():
    # Keys and values +-1 weighed alike have covariance 1: |dv/dq| = |v| |k| = 1.
    attention = CrossAttention(1, 1, values="a")
    for layer in (attention.query, attention.key, attention.value):
        nn.init.ones_(layer.weight)
    keys, query = torch.tensor([[[1.0], [-1.0]]]), torch.zeros(1, 1, 1)
    assert stretch(attention, keys, query, argument=1) == pytest.approx(1)
    assert bound_attention.cross_attention(attention, 1.0, 1.0, 2)[1] == pytest.approx(0, abs=1e-6)


def test_keys_that_all_queries_share_come_close_to_their_constant():
    # Eight queries 30 weigh two keys alike, with values +-1: 30 / sqrt(2) sqrt(8 / 2), half of it by each key.
    attention = CrossAttention(2, 1, values="a")
    for layer, weight in zip(
        (attention.query, attention.key, attention.value), ([1.0, 0.0], [1.0, 0.0], [0.0, 1.0]), strict=True
    ):
        layer.weight.data = torch.diag(torch.tensor(weight))
    f_a = torch.tensor([[[0.0, 1.0], [0.0, -1.0], *[[-1.0, 0.0]] * 6]])
    truth = stretch(attention, f_a, torch.tensor([[[30.0, 0.0]] * 8]))
    assert truth == pytest.approx(30 / math.sqrt(2) * 2, rel=0.02)
    bound = math.exp(bound_attention.cross_attention(attention, 1.0, 30.0, 8)[0])
    assert truth <= bound == pytest.approx(30 / math.sqrt(2) * math.sqrt(8) + math.sqrt(8), rel=1e-5)


@pytest.mark.parametrize("spread", [0.0, 0.5, 3.0])
def test_static_operator(spread):
    operator = DeformableOperator(1, (3, 2, 4), num_points=3)
    nn.init.normal_(operator.raw_offsets, std=spread)
    nn.init.normal_(operator.weights)
    bound = math.exp(bound_attention.deformable(operator, 1.0))
    assert stretch(operator, torch.randn(1, 3, 2, 4, 1)) <= bound * (1 + 1e-5)


def test_operator_without_offsets_is_exact():
    operator = DeformableOperator(2, (3, 2, 4), num_points=3)
    nn.init.zeros_(operator.raw_offsets)
    assert bound_attention.deformable(operator, 1.0) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("max_offset", [1.0, 2.5])
def test_predicted_operator(max_offset):
    operator = vary(
        DeformableOperator(2, (3, 3, 3), num_points=2, max_offset=max_offset, offsets="predicted")
    )
    for scale in (0.1, 1.0):
        nn.init.normal_(operator.predict.weight, std=scale)
        f = tokens(27, 2, 2.0).view(1, 3, 3, 3, 2)
        assert stretch(operator, f) <= math.exp(bound_attention.deformable(operator, 2.0))
        assert operator(f).norm(dim=-1).max() <= bound_attention.sampled_radius(operator, 2.0)


@pytest.mark.parametrize("residual", ["paper", "standard"])
@pytest.mark.parametrize("shifted", [False, True])
def test_swin_block(residual, shifted):
    block = vary(SwinBlock(4, 2, (2, 2, 2), shifted=shifted, residual=residual, mlp_ratio=2))
    bound = math.exp(bound_blocks.swin_block(block))
    assert all(stretch(block, x) <= bound for x in points(1, 3, 2, 2, 4))


@pytest.mark.parametrize("refines", ["keys", "queries"])
@pytest.mark.parametrize("values", ["a", "b"])
@pytest.mark.parametrize("residual", ["paper", "standard"])
@pytest.mark.parametrize("offsets", ["static", "predicted", None])
def test_cross_block(refines, values, residual, offsets):
    sampler = DeformableOperator(2, (2, 2, 3), num_points=2, offsets=offsets) if offsets else None
    attention = CrossAttention(2, 1, values=values)
    window = (2, 2, 2) if offsets else None
    block = CrossTransformerBlock(
        2, attention, window=window, sampler=sampler, refines=refines, residual=residual, mlp_ratio=2
    )
    bounds = bound_blocks.cross_block(vary(block), (2, 2, 3))
    for own, other in zip(points(1, 2, 2, 3, 2), points(1, 2, 2, 3, 2), strict=True):
        for argument, bound in enumerate(bounds):
            assert stretch(block, own, other, argument=argument) <= math.exp(bound)


@pytest.mark.parametrize(("refines", "values", "reached"), [
    ("keys", "b", True), ("keys", "a", False), ("queries", "b", False), ("queries", "a", True),
])  # fmt: skip
def test_without_scores_the_other_stream_matters_only_for_its_values(refines, values, reached):
    block = vary(
        CrossTransformerBlock(
            2, CrossAttention(2, 1, values=values), window=None, sampler=None, refines=refines
        )
    )
    nn.init.zeros_(block.attention.key.weight)
    _, other = bound_blocks.cross_block(block, (2, 1, 1))
    assert (other > -100) == reached


def test_a_block_without_branch_is_the_identity():
    block = SwinBlock(4, 2, (2, 2, 2), shifted=False)
    nn.init.zeros_(block.mlp.fc2.weight)
    assert bound_blocks.swin_block(block) == pytest.approx(0, abs=1e-9)


PARTS = [
    (ResidualConvBlock(2, 2), bound_convolution.residual_conv_block, (1, 2, 2, 3, 2)),
    (ResidualConvBlock(2, 3), bound_convolution.residual_conv_block, (1, 2, 2, 3, 2)),
    (ResidualConvBlock(2, 2, (2, 1, 2)), bound_convolution.residual_conv_block, (1, 2, 4, 2, 4)),
    (ConvEmbedding(2, 6, (1, 2, 2), sincos=True), bound_blocks.embedding, (1, 2, 2, 2, 4)),
    (ConvMerging(2), bound_blocks.merging, (1, 4, 2, 2, 2)),
    (PatchEmbedding(2, 6, (2, 1, 2), sincos=True), bound_blocks.embedding, (1, 2, 2, 2, 2)),
    (PatchMerging(2), bound_blocks.merging, (1, 2, 2, 4, 2)),
    (PatchExpanding(4, 2), bound_blocks.expanding, (1, 2, 1, 2, 4)),
]


@pytest.mark.parametrize(("module", "bound", "shape"), PARTS)
def test_parts_of_one_input(module, bound, shape):
    for _ in range(3):
        vary(module)
        assert all(stretch(module, x) <= math.exp(bound(module)) for x in points(*shape))


def test_a_convolution_block_without_branch_is_its_short_cut():
    kept, block = ResidualConvBlock(2, 2), ResidualConvBlock(1, 1, (2, 2, 2))
    for module in (kept, block):
        nn.init.zeros_(module.norm2.weight)
    assert bound_convolution.residual_conv_block(kept) == pytest.approx(0)
    nn.init.ones_(block.project.weight)
    # Nearly constant blocks of eight voxels: their mean stretches by 1 / sqrt(8), its norm by 1 / sqrt(eps).
    truth = stretch(block, torch.ones(1, 1, 4, 2, 2) + 1e-6 * torch.randn(1, 1, 4, 2, 2))
    bound = math.exp(bound_convolution.residual_conv_block(block))
    assert truth <= bound == pytest.approx((8 * block.norm1.eps) ** -0.5, rel=1e-5)
    assert truth > 0.3 * bound


def test_every_map_of_a_stem_has_its_own_constant():
    stem = vary(ConvStem((2, 3), [(2, 1, 2)]))
    alphas = bound_convolution.conv_stem(stem)
    assert len(alphas) == 2
    for x in points(1, 1, 4, 2, 4):
        for number, alpha in enumerate(alphas):
            assert stretch(lambda x, n=number: stem(x)[n], x) <= math.exp(alpha)


def cut(x: Tensor, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Cut a vector into tensors."""
    return [
        part.view(shape) for part, shape in zip(x.split([math.prod(s) for s in shapes]), shapes, strict=True)
    ]


COARSE_AND_SKIP = (1, 2, 1, 1, 4), (1, 4, 2, 2, 2)


@pytest.mark.parametrize("module", [SkipConnection(2), ConvSkip(2)])
def test_skip_connection(module):
    for _ in range(3):
        vary(module)
        bound = math.exp(bound_blocks.skip_connection(module, 0.0, 0.0))
        assert all(stretch(lambda x: module(*cut(x, *COARSE_AND_SKIP)), x) <= bound for x in points(40))


def test_a_constant_input_of_a_skip_connection_adds_nothing():
    for module in (SkipConnection(2), ConvSkip(2)):
        both, fine = (bound_blocks.skip_connection(vary(module), coarse, 0.0) for coarse in (0.0, -math.inf))
        assert fine < both


def test_linear_head():
    module = vary(FusedHead(4, (2, 2, 2), channels=3, num_classes=3))
    bound = math.exp(bound_blocks.head(module, (0.0, 0.0), []))
    assert stretch(lambda x: module(cut(x, *[(1, 1, 1, 1, 2)] * 2), [])[0], torch.randn(4)) <= bound


def test_conv_head():
    module = ConvHead(
        4,
        channels=[2, 3],
        skip_channels=[2, 4],
        strides=[(1, 2, 2), (2, 1, 2)],
        num_classes=3,
    )
    streams, middle, fine = [(1, 1, 1, 1, 2)] * 2, [(1, 2, 2, 1, 2)] * 2, [(1, 1, 2, 2, 4)] * 2

    def logits(x: Tensor) -> Tensor:
        a, b, *maps = cut(x, *streams, *middle, *fine)
        return module([a, b], [maps[2:], maps[:2]])[0]

    for _ in range(3):
        vary(module)
        bound = math.exp(bound_blocks.head(module, (0.0, 0.0), [(0.0, 0.0), (0.0, 0.0)]))
        assert all(stretch(logits, x) <= bound for x in points(4 + 16 + 32))


OPTIONS: list[dict[str, Any]] = [
    {}, {"stem": "linear"}, {"residual": "standard", "refines": "queries", "values": "a"}, {"depths": (2, 1)},
    {"similarity": "cosine"}, {"offsets": "predicted"}, {"deformable": False}, {"cross": False}, {"streams": "mr"},
    {"transitions": "conv"}, {"stem": "linear", "transitions": "conv"}, {"transitions": "conv", "missing_token": True},
    {"transitions": "conv", "patch_embedding": (4, 1, 2)}, {"patch_embedding": (1, 1, 1)},
    {"streams": "ct", "transitions": "conv"},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS)
def test_whole_networks(options):
    network = make_network(chosen(**options), (8, 8, 8), 0)
    x = torch.rand(1, 2, 8, 8, 8)
    random = torch.Generator().manual_seed(0)
    found = max(power_iteration(network, x, iterations=6, step=1e-2, generator=random))
    assert 0 < math.log10(found) < bound_network.upper_bound(network, (8, 8, 8))


def test_parts_come_in_the_order_of_the_computation():
    network = make_network(chosen(), (8, 8, 8), 0)
    names = [name for name, _ in bound_network.cumulative_bounds(network, (8, 8, 8))]
    assert names == ["stem", "embedding", "encoder 1", "encoder 2", "decoder 1", "head"]
    paper = bound_network.paper_bound(network, (8, 8, 8))
    assert paper["depth"] == 3
    assert paper["formula"] == pytest.approx(3 * (paper["l_s"] + paper["l_c"] + paper["l_d"]))


@pytest.mark.parametrize("transitions", ["linear", "conv"])
@pytest.mark.parametrize("stem", ["linear", "conv"])
@pytest.mark.parametrize("stride", [(4, 1, 2), (1, 1, 1), (2, 2, 2)])
def test_sizes_are_those_of_the_features(stem, transitions, stride):
    network = make_network(chosen(stem=stem, transitions=transitions, patch_embedding=stride), (8, 8, 8), 0)
    first, _, deepest, _ = (a.shape[2:] for a, _ in network.features(torch.rand(1, 2, 8, 8, 8)))
    assert [tuple(first), tuple(deepest)] == bound_network.map_sizes(network, (8, 8, 8))


@pytest.mark.parametrize("stem", ["linear", "conv"])
def test_constants_grow_from_part_to_part_and_of_deep_supervision_not_at_all(stem):
    plain, deep = (
        make_network(chosen(stem=stem, transitions="conv", deep_supervision=value), (8, 8, 8), 0)
        for value in (False, True)
    )
    plain.load_state_dict(deep.state_dict(), strict=False)
    bounds = bound_network.cumulative_bounds(plain, (8, 8, 8))
    assert bounds == bound_network.cumulative_bounds(deep, (8, 8, 8))
    values = [value for _, value in bounds]
    assert values == sorted(values)
