"""Every constant against the largest singular value of a dense Jacobian, and tight where it must be."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crossmodalnet.networks.common.wrappers import PatchExpanding
from crossmodalnet.networks.crossmodalnet import embedding
from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.blocks import CrossTransformerBlock, SwinBlock
from crossmodalnet.networks.crossmodalnet.convolution import ResidualConvBlock
from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator
from crossmodalnet.networks.crossmodalnet.head import ConvHead, ConvStem, FusedHead
from crossmodalnet.networks.crossmodalnet.network import ConvSkip, SkipConnection
from crossmodalnet.theory import network_bounds
from crossmodalnet.theory.sensitivity import power_iteration
from tests.crossmodalnet.theory.subjects import chosen, make_network, make_subject, points, stretch, vary


@pytest.mark.parametrize("residual", ["paper", "standard"])
@pytest.mark.parametrize("shifted", [False, True])
def test_swin_block(residual, shifted):
    block = vary(SwinBlock(4, 2, (2, 2, 2), shifted=shifted, residual=residual, mlp_ratio=2))
    bound = math.exp(network_bounds.swin_block(block))
    assert all(stretch(block, x) <= bound for x in points(1, 3, 2, 2, 4))


@pytest.mark.parametrize("refines", ["keys", "queries"])
@pytest.mark.parametrize("values", ["a", "b"])
@pytest.mark.parametrize("residual", ["paper", "standard"])
@pytest.mark.parametrize("offsets", ["static", "predicted", None])
def test_cross_block(refines, values, residual, offsets):
    sampler = DeformableOperator(2, (2, 2, 3), num_points=2, offsets=offsets) if offsets else None
    attention = CrossAttention(2, 1, values=values)
    kind = {"refines": refines, "residual": residual, "mlp_ratio": 2}
    window = (2, 2, 2) if offsets else None
    block = CrossTransformerBlock(2, attention, window=window, sampler=sampler, **kind)
    bounds = network_bounds.cross_block(vary(block), (2, 2, 3))
    for own, other in zip(points(1, 2, 2, 3, 2), points(1, 2, 2, 3, 2), strict=True):
        for argument, bound in enumerate(bounds):
            assert stretch(block, own, other, argument=argument) <= math.exp(bound)


@pytest.mark.parametrize(("refines", "values", "reached"), [
    ("keys", "b", True), ("keys", "a", False), ("queries", "b", False), ("queries", "a", True),
])  # fmt: skip
def test_without_scores_the_other_stream_matters_only_for_its_values(refines, values, reached):
    attention = CrossAttention(2, 1, values=values)
    block = vary(CrossTransformerBlock(2, attention, window=None, sampler=None, refines=refines))
    nn.init.zeros_(block.attention.key.weight)
    _, other = network_bounds.cross_block(block, (2, 1, 1))
    assert (other > -100) == reached


def test_a_block_without_branch_is_the_identity():
    block = SwinBlock(4, 2, (2, 2, 2), shifted=False)
    nn.init.zeros_(block.mlp.fc2.weight)
    assert network_bounds.swin_block(block) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (ResidualConvBlock(2, 2), (1, 2, 2, 3, 2)),
        (ResidualConvBlock(2, 3), (1, 2, 2, 3, 2)),
        (ResidualConvBlock(2, 2, (2, 1, 2)), (1, 2, 4, 2, 4)),
        (embedding.ConvEmbedding(2, 6, (1, 2, 2), sincos=True), (1, 2, 2, 2, 4)),
        (embedding.ConvMerging(2), (1, 4, 2, 2, 2)),
        (embedding.PatchEmbedding(2, 6, (2, 1, 2), sincos=True), (1, 2, 2, 2, 2)),
        (embedding.PatchMerging(2), (1, 2, 2, 4, 2)),
        (PatchExpanding(4, 2), (1, 2, 1, 2, 4)),
    ],
)
def test_parts_of_one_input(module, shape):
    for _ in range(3):
        bound = math.exp(network_bounds.one_input(vary(module)))
        assert all(stretch(module, x) <= bound for x in points(*shape))


def test_a_convolution_block_without_branch_is_its_short_cut():
    kept, block = ResidualConvBlock(2, 2), ResidualConvBlock(1, 1, (2, 2, 2))
    for module in (kept, block):
        nn.init.zeros_(module.norm2.weight)
    assert network_bounds.one_input(kept) == pytest.approx(0)
    nn.init.ones_(block.project.weight)
    # Nearly constant blocks of eight voxels: their mean stretches by 1 / sqrt(8), its norm by 1 / sqrt(eps).
    truth = stretch(block, torch.ones(1, 1, 4, 2, 2) + 1e-6 * torch.randn(1, 1, 4, 2, 2))
    bound = math.exp(network_bounds.one_input(block))
    assert truth <= bound == pytest.approx((8 * block.norm1.eps) ** -0.5, rel=1e-5)
    assert truth > 0.3 * bound


def test_every_map_of_a_stem_has_its_own_constant():
    stem = vary(ConvStem((2, 3), [(2, 1, 2)]))
    first, second = network_bounds.stem_maps(stem)
    for x in points(1, 1, 4, 2, 4):
        assert stretch(lambda x: stem(x)[0], x) <= math.exp(first)
        assert stretch(lambda x: stem(x)[1], x) <= math.exp(second)


def cut(x: Tensor, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Cut a vector into tensors."""
    parts = x.split([math.prod(shape) for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


COARSE_AND_SKIP = (1, 2, 1, 1, 4), (1, 4, 2, 2, 2)


@pytest.mark.parametrize("module", [SkipConnection(2), ConvSkip(2)])
def test_skip_connection(module):
    for _ in range(3):
        vary(module)
        bound = math.exp(network_bounds.up(module, 0.0, 0.0))
        assert all(stretch(lambda x: module(*cut(x, *COARSE_AND_SKIP)), x) <= bound for x in points(40))
    # A constant coarse map adds nothing.
    assert network_bounds.up(module, -math.inf, 0.0) < network_bounds.up(module, 0.0, 0.0)


def test_linear_head():
    module = vary(FusedHead(4, (2, 2, 2), channels=3, num_classes=3))
    bound = math.exp(network_bounds.head(module, (0.0, 0.0), []))
    assert stretch(lambda x: module(cut(x, *[(1, 1, 1, 1, 2)] * 2), [])[0], torch.randn(4)) <= bound


def test_conv_head():
    module = ConvHead(4, channels=[2, 3], skip_channels=[2, 4], strides=[(1, 2, 2), (2, 1, 2)], num_classes=3)
    streams, middle, fine = [(1, 1, 1, 1, 2)] * 2, [(1, 2, 2, 1, 2)] * 2, [(1, 1, 2, 2, 4)] * 2

    def logits(x: Tensor) -> Tensor:
        a, b, *maps = cut(x, *streams, *middle, *fine)
        return module([a, b], [maps[2:], maps[:2]])[0]

    for _ in range(3):
        vary(module)
        bound = math.exp(network_bounds.head(module, (0.0, 0.0), [(0.0, 0.0), (0.0, 0.0)]))
        assert all(stretch(logits, x) <= bound for x in points(4 + 16 + 32))


OPTIONS: list[dict[str, Any]] = [
    {}, {"stem": "linear"}, {"residual": "standard", "refines": "queries", "values": "a"}, {"depths": (2, 1)},
    {"similarity": "cosine"}, {"offsets": "predicted"}, {"deformable": False}, {"cross": False}, {"streams": "mr"},
    {"transitions": "conv"}, {"stem": "linear", "transitions": "conv"}, {"transitions": "conv", "missing_token": True},
    {"transitions": "conv", "patch_embedding": (4, 1, 2)}, {"patch_embedding": (1, 1, 1)},
    {"streams": "ct", "transitions": "conv"},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_whole_networks(options):
    subject = make_subject(size=8, **options)
    network = subject.network
    x = torch.rand(1, 2, 8, 8, 8)
    generator = torch.Generator().manual_seed(0)
    largest = max(power_iteration(network, x, iterations=6, step=1e-2, generator=generator))
    assert 0 < math.log10(largest) < network_bounds.cumulative_bounds(network, subject.token_size)[-1][1]
    sizes = network_bounds.level_sizes(network, subject.token_size)
    assert {tuple(a.shape[2:]) for a, *_ in network.features(x)} == set(sizes)


def test_parts_come_in_the_order_of_the_computation():
    network = make_network(chosen(), (8, 8, 8), 0)
    names = [name for name, _ in network_bounds.cumulative_bounds(network, (4, 4, 4))]
    assert names == ["stem", "embedding", "encoder 1", "encoder 2", "decoder 1", "head"]
    paper = network_bounds.paper_bound(network, (4, 4, 4))
    assert paper["depth"] == 3
    assert paper["formula"] == pytest.approx(3 * (paper["l_s"] + paper["l_c"] + paper["l_d"]))


@pytest.mark.parametrize("stem", ["linear", "conv"])
def test_bounds_grow_from_part_to_part_and_ignore_deep_supervision(stem):
    options = chosen(stem=stem, transitions="conv")
    plain = make_network(options, (8, 8, 8), 0)
    deep = make_network({**options, "deep_supervision": True}, (8, 8, 8), 0)
    plain.load_state_dict(deep.state_dict(), strict=False)
    bounds = network_bounds.cumulative_bounds(plain, (4, 4, 4))
    assert bounds == network_bounds.cumulative_bounds(deep, (4, 4, 4))
    values = [value for _, value in bounds]
    assert values == sorted(values)
