from dataclasses import replace
from itertools import product
from math import prod

import pytest
import torch

from crossmodalnet.networks.common.swin import PreNormBlock, WindowRule, legacy_index
from crossmodalnet.networks.common.windows import relative_index
from crossmodalnet.networks.nnformer.layers import Downsample, Upsample
from crossmodalnet.networks.nnformer.network import SIZES, NNFormer, build_nnformer

NATIVE = {"synapse": (64, 128, 128), "tumor": (128, 128, 128), "acdc": (14, 160, 160)}
OPTIONS = {"size": "small", "legacy": False, "deep_supervision": True, "checkpointing": False}
TINY = replace(SIZES["small"], channels=4, heads=(1, 1, 2, 2), decoder_heads=(1, 1, 2))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("size", "expected"), [("synapse", 149_798_736), ("tumor", 37_628_714), ("acdc", 37_167_644)])
def test_published_sizes_have_the_published_parameters_and_outputs(size, expected, legacy):
    with torch.device("meta"):
        network = build_nnformer(OPTIONS | {"size": size, "legacy": legacy}, NATIVE[size], 8)
        out = network(torch.empty(1, 2, *NATIVE[size]))
    assert sum(p.numel() for p in network.parameters()) == expected
    shapes = [tuple(o.shape[2:]) for o in out] if isinstance(out, list) else [tuple(out.shape[2:])]
    assert shapes == {"synapse": [NATIVE[size], (32, 64, 64), (16, 32, 32)]}.get(size, [NATIVE[size]])


def test_the_maps_of_the_published_networks():
    assert SIZES["acdc"].maps((14, 160, 160)) == [(14, 40, 40), (14, 20, 20), (7, 10, 10), (3, 5, 5)]
    assert SIZES["synapse"].maps((64, 128, 128)) == [(n, n, n) for n in (32, 16, 8, 4)]


def test_a_shrunken_window_keeps_the_rows_of_its_displacements():
    table, window = (4, 3, 5), (2, 3, 4)
    rows = {d: i for i, d in enumerate(product(*(range(1 - n, n) for n in table)))}
    tokens = list(product(*(range(n) for n in window)))
    expected = [[rows[a[0] - b[0], a[1] - b[1], a[2] - b[2]] for b in tokens] for a in tokens]
    assert relative_index(window, table).tolist() == expected


@pytest.mark.parametrize(("window", "rows"), [((4, 4, 4), 115), ((8, 8, 8), 547), ((3, 5, 5), 137), ((7, 10, 10), 709)])
def test_legacy_displacements_collide_as_published(window, rows):
    assert legacy_index(window).unique().numel() == rows
    assert relative_index(window).unique().numel() == prod(2 * n - 1 for n in window)


def test_legacy_differs_with_equal_weights():
    legacy, network = (NNFormer(TINY, 3, (40, 40, 40), legacy=v).eval() for v in (True, False))
    legacy.load_state_dict(network.state_dict())
    x = torch.randn(1, 2, 40, 40, 40)
    assert (legacy(x) - network(x)).abs().max() > 1e-4


def test_a_shift_joins_no_opposite_ends_except_in_acdc_legacy():
    near, ends = set(product(range(2), repeat=3)), set(product((0, 1, 6, 7), repeat=3))
    x = torch.randn(1, 8, 8, 8, 8)
    changed = x.clone()
    changed[0, 0, 0, 0] += torch.randn(8)
    for legacy, shift_mask, expected in ((False, False, near), (True, True, near), (True, False, ends)):
        block = PreNormBlock(8, 2, WindowRule((4, 4, 4), legacy, shift_mask), shifted=True).eval()
        reached = (block(changed) - block(x)).abs().amax(-1)[0] > 1e-7
        assert set(map(tuple, reached.nonzero().tolist())) == expected


@pytest.mark.parametrize("legacy", [False, True])
def test_padding_is_attended_to_in_legacy_alone(legacy):
    # Attention among equal tokens gives what each of them holds, unless padding takes part.
    block = PreNormBlock(8, 2, WindowRule((4, 4, 4), legacy, True), shifted=False)
    out = block(torch.randn(8).expand(1, 5, 5, 5, 8))
    inside, beside_padding, one = out[0, :4, :4, :4], out[0, 4], out[0, 0, 0, 0]
    torch.testing.assert_close(inside, one.expand_as(inside), atol=1e-5, rtol=1e-5)
    assert torch.allclose(beside_padding, one.expand_as(beside_padding), atol=1e-5) != legacy


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("padding", [0, 1])
def test_down_and_up_again_returns_to_the_size_and_sees_every_token(n, padding):
    down = Downsample(4, (2, 1, 1), (padding, 0, 0))
    x = torch.randn(1, n, 2, 2, 4, requires_grad=True)
    y = down(x)
    assert y.shape[1] == (-(-n // 2) if padding else max(n // 2, 1))
    y.square().sum().backward()
    assert (x.grad.abs().amax((0, 2, 3, 4)) > 0).all()
    assert Upsample(8, (2, 1, 1))(y, (n, 2, 2)).shape == x.shape


def test_published_weights_load_with_their_index_of_positions():
    network = NNFormer(TINY, 3, (16, 16, 16))
    weights = network.state_dict()
    index = "model_down.layers.0.blocks.0.attn.relative_position_index"
    assert not any("index" in name for name in weights)
    network.load_state_dict(weights | {index: torch.zeros(64, 64)})
    with pytest.raises(RuntimeError, match="other"):
        network.load_state_dict(weights | {"other": torch.zeros(1)})


def test_names_of_published_weights():
    names = set(NNFormer(TINY, 3, (16, 16, 16)).state_dict())
    assert names >= {
        "model_down.patch_embed.proj1.norm2.weight", "model_down.patch_embed.norm.weight",
        "model_down.layers.0.blocks.1.attn.qkv.bias", "model_down.layers.2.downsample.reduction.weight",
        "model_down.norm3.bias", "decoder.layers.0.blocks.0.attn.kv.weight",
        "decoder.layers.2.Upsample.up.weight", "decoder.layers.1.blocks.1.mlp.fc2.weight", "final.2.up.bias",
    }  # fmt: skip


def test_legacy_tables_fit_the_windows_of_the_crop():
    with torch.device("meta"):
        network = build_nnformer(OPTIONS | {"size": "synapse", "legacy": True}, (16, 32, 32), 8)
    stages = [*network.model_down.layers, *network.decoder.layers]
    rows = [stage.blocks[0].attn.relative_position_bias_table.shape[0] for stage in stages]
    # maps 8^3, 4^3, 2^3, 1^3 down, 8^3, 4^3, 2^3 of the decoder; windows 4, 4, 2, 1
    assert rows == [343, 343, 27, 1, 343, 343, 27]


def test_drop_path_rises_with_use():
    network = NNFormer(SIZES["small"], 8, (40, 40, 40))
    stages = [*network.model_down.layers, *list(network.decoder.layers)[::-1]]
    rates = [getattr(b.drop_path, "drop_prob", 0.0) for stage in stages for b in stage.blocks]
    assert rates == pytest.approx([0.2 * i / 7 for i in range(8)] + [0.2 * i / 5 for i in range(6)])
