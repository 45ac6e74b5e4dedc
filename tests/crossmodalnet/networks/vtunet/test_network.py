import itertools
import math

import pytest
import torch
from torch import nn

from crossmodalnet.networks.vtunet import blocks
from crossmodalnet.networks.vtunet.network import VTUNet, VTUNetConfig, build_vtunet
from tests.crossmodalnet.networks.conftest import options_of

TINY = VTUNetConfig(
    channels=6, patch_embedding=(2, 2, 2), depths=(2, 1), heads=(1, 2), window=(3, 3, 3), mlp_ratio=1.0, drop_path=0.0
)  # fmt: skip


def make_block(*, shifted=False, legacy=False, alpha=0.3):
    options = {"shifted": shifted, "legacy": legacy, "alpha": alpha}
    block = blocks.VTBlock(4, 2, (3, 3, 3), mlp_ratio=1.0, drop_path=0.0, **options)
    nn.init.normal_(block.attn.relative_position_bias_table)
    return block


def naive_attention(block, f, source, keys_of, shift):
    """Attention of map f (d, h, w, 4) to map `source` within windows of 3, one token and head at a time."""
    x, other = block.norm1(f), keys_of.norm1(source)
    positions = list(itertools.product(*(range(n) for n in f.shape[:3])))
    group = {p: tuple((i - s) // 3 for i, s in zip(p, shift, strict=True)) for p in positions}
    table = block.attn.relative_position_bias_table.view(5, 5, 5, 2)
    out = torch.zeros_like(f)
    for p, head in itertools.product(positions, range(2)):
        near = [t for t in positions if group[t] == group[p]]
        q = block.attn.qkv(x[p]).view(3, 2, 2)[0, head]
        kv = [keys_of.attn.qkv(other[t]).view(3, 2, 2)[1:, head] for t in near]
        bias = [table[tuple(i - j + 2 for i, j in zip(p, t, strict=True))][head] for t in near]
        scores = torch.stack([q @ k / math.sqrt(2) + b for (k, _), b in zip(kv, bias, strict=True)])
        out[p][2 * head : 2 * head + 2] = scores.softmax(0) @ torch.stack([v for _, v in kv])
    return block.attn.proj(out)


def test_names_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        state = build_vtunet(options_of("vtunet", size="c48"), (128, 128, 128), 8).state_dict()
    expected = {
        "patch_embed.proj.weight": (48, 2, 4, 4, 4), "output.weight": (8, 48, 1, 1, 1),
        "layers.1.blocks.0.attn.relative_position_bias_table": (13**3, 6),
        "layers.1.blocks.1.attn.qkv.weight": (3 * 96, 96), "up.expand.weight": (64 * 48, 48),
        "layers.2.downsample.reduction.weight": (2 * 192, 4 * 192), "layers_up.0.expand.weight": (2 * 384, 384),
        "layers_up.3.blocks.1.mlp.fc1.weight": (4 * 48, 48), "layers_up.1.upsample.norm.weight": (96,),
        "concat_back_dim.2.weight": (96, 2 * 96),
    }  # fmt: skip
    assert {name: tuple(state[name].shape) for name in expected} == expected
    assert len(state) == 202


@pytest.mark.parametrize("shape", [(4, 3, 3), (2, 5, 4), (4, 2, 7)])
@pytest.mark.parametrize("shifted", [False, True])
@torch.no_grad()
def test_decoder_block_agrees_with_loops_over_tokens(shape, shifted):
    encoder, decoder = make_block(shifted=shifted), make_block(shifted=shifted)
    skip, f = torch.randn(1, *shape, 4), torch.randn(1, *shape, 4)
    shift = tuple(1 if shifted and n > 3 else 0 for n in shape)

    def close(attended):
        x = f[0] + attended
        return x + decoder.mlp(decoder.norm2(x))

    own = close(naive_attention(decoder, f[0], f[0], decoder, shift))
    cross = close(naive_attention(decoder, f[0], skip[0], encoder, shift))
    positions = decoder.mlp(decoder.norm2(blocks.position_encoding(shape, 4, f.device)[0]))
    out, _ = decoder(f, encoder(skip)[1])
    torch.testing.assert_close(out[0], 0.7 * own + 0.3 * cross + positions)


@torch.no_grad()
def test_alpha_zero_leaves_the_encoder_out_and_one_the_own_keys():
    f, memory = torch.randn(1, 3, 3, 3, 4), make_block()(torch.randn(1, 3, 3, 3, 4))[1]
    other = make_block()(torch.randn(1, 3, 3, 3, 4))[1]
    block = make_block(alpha=0.0)
    torch.testing.assert_close(block(f, memory)[0], block(f, other)[0])
    block.alpha = 1.0
    before = block(f, memory)[0]
    block.attn.qkv.weight[4:] += 1
    torch.testing.assert_close(block(f, memory)[0], before)


@torch.no_grad()
def test_legacy_takes_the_bias_of_the_first_tokens_of_a_whole_window():
    legacy, mended = (blocks.VTAttention(2, 1, (2, 2, 2), legacy=flag) for flag in (True, False))
    for attention in (legacy, mended):
        attention.relative_position_bias_table.copy_(torch.arange(27.0)[:, None])
    # Row = 9 (dd + 1) + 3 (dh + 1) + dw + 1. A window of 2 x 1 x 1 lies along d, tokens 0 and 1 of a whole one
    # along w.
    torch.testing.assert_close(mended.bias((2, 1, 1))[0, 0], torch.tensor([[13.0, 4.0], [22.0, 13.0]]))
    torch.testing.assert_close(legacy.bias((2, 1, 1))[0, 0], torch.tensor([[13.0, 12.0], [14.0, 13.0]]))
    torch.testing.assert_close(legacy.bias((2, 2, 2)), mended.bias((2, 2, 2)))


@torch.no_grad()
def test_legacy_scales_the_query_of_the_cross_attention_twice():
    attention = blocks.VTAttention(4, 1, (1, 1, 2), legacy=True)
    x, k, v = torch.randn(1, 2, 4), torch.randn(1, 1, 2, 4), torch.randn(1, 1, 2, 4)
    q = attention.qkv(x)[..., :4]
    scores = q @ k[0].mT / 2 / 2 + attention.bias((1, 1, 2))[0]
    expected = attention.proj(scores.softmax(-1) @ v[0])
    torch.testing.assert_close(attention(x, (1, 1, 2), None, (k, v))[1], expected)


@torch.no_grad()
def test_padding_is_attended_to_in_legacy_only():
    f = torch.randn(1, 4, 3, 3, 4)
    for legacy in (False, True):
        block = make_block(legacy=legacy)
        nn.init.zeros_(block.attn.relative_position_bias_table)
        block.attn.qkv.weight[:8] = 0  # every key counts the same: attention is the mean of the values
        block.attn.qkv.bias[:8] = 0
        values = block.attn.qkv(block.norm1(f[0, 3]).view(9, 4))[:, 8:]
        if legacy:
            values = torch.cat((values, block.attn.qkv.bias[8:].expand(18, 4)))
        x = f[0, 3] + block.attn.proj(values.mean(0))
        torch.testing.assert_close(block(f)[0][0, 3], x + block.mlp(block.norm2(x)))


def test_position_encoding_by_hand():
    encoding = blocks.position_encoding((2, 3, 4), 12, torch.device("cpu"))[0]
    # Four channels per axis: sines of p and p / 100, then their cosines.
    waves = [[math.sin(p), math.sin(p / 100), math.cos(p), math.cos(p / 100)] for p in (1, 2, 3)]
    torch.testing.assert_close(encoding[1, 2, 3], torch.tensor(waves).flatten())
    assert blocks.position_encoding((2, 3, 4), 8, torch.device("cpu")).shape == (1, 2, 3, 4, 8)


@torch.no_grad()
def test_merging_joins_h_and_w_only():
    x = torch.arange(2 * 3 * 2.0).view(1, 2, 3, 2, 1)
    merge = blocks.PatchMerge(1)
    merge.norm = merge.reduction = nn.Identity()
    # The published order: (h, w), (h + 1, w), (h, w + 1), (h + 1, w + 1); the fourth row of h is filled up.
    assert merge(x).tolist() == [[[[[0, 2, 1, 3]], [[4, 0, 5, 0]]], [[[6, 8, 7, 9]], [[10, 0, 11, 0]]]]]


@torch.no_grad()
def test_voxels_beyond_the_input_do_not_matter():
    network = VTUNet(TINY, 3, legacy=False).eval()
    x = torch.randn(1, 2, 15, 16, 16)
    torch.testing.assert_close(network(x), network(nn.functional.pad(x, (0, 0, 0, 0, 0, 1)))[:, :, :15])
