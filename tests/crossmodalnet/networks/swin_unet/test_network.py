import itertools
import math
import re
from dataclasses import replace

import pytest
import torch
from timm.layers import DropPath
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from crossmodalnet.networks.common.swin import PreNormBlock, WindowRule
from crossmodalnet.networks.swin_unet.network import SIZES, SwinUnet

# The published network with a quarter of its channels, without stochastic depth.
NARROW = replace(SIZES["published"], channels=24, drop_path=0.0)
TINY = replace(NARROW, channels=8, depths=(2, 2), heads=(1, 2), patch=2, window=3)


def randomised(network):
    """Large random parameters: those that start at 0 or near it count too."""
    for name, parameter in network.named_parameters():
        nn.init.normal_(parameter, std=1.0 if "table" in name else 0.2)
    return network.eval()


def block_by_loops(block, f, shift, window=3):
    """A block on a map (h, w, c), one pair of tokens and one head at a time, with Swin's full bias table."""
    attn = block.attn
    heads, c = attn.num_heads, f.shape[-1]
    tokens = list(itertools.product(*map(range, f.shape[:2])))
    clipped = [min(n, window) for n in f.shape[:2]]
    group = {p: tuple((i - s) // n for i, s, n in zip(p, shift, clipped, strict=True)) for p in tokens}
    qkv = attn.qkv(block.norm1(f)).unflatten(-1, (3, heads, c // heads))
    table = attn.relative_position_bias_table.view(2 * window - 1, 2 * window - 1, heads)
    out = torch.zeros_like(f)
    for p, h in itertools.product(tokens, range(heads)):
        keys = [q for q in tokens if group[q] == group[p]]
        bias = torch.stack([table[p[0] - q[0] + window - 1, p[1] - q[1] + window - 1, h] for q in keys])
        k, v = (torch.stack([qkv[q][n, h] for q in keys]) for n in (1, 2))
        out[p].view(heads, -1)[h] = torch.softmax(k @ qkv[p][0, h] / math.sqrt(c // heads) + bias, 0) @ v
    x = f + attn.proj(out)
    return x + block.mlp(block.norm2(x))


@pytest.mark.parametrize("size", [(6, 6), (3, 4), (5, 2), (2, 7)])
@pytest.mark.parametrize("shifted", [False, True])
@torch.no_grad()
def test_block_agrees_with_loops_over_tokens(size, shifted):
    block, f = randomised(PreNormBlock(4, 2, WindowRule((1, 3, 3)), shifted=shifted)), torch.randn(2, 1, *size, 4)
    # An axis that one window covers is not shifted.
    shift = tuple(1 if shifted and n > 3 else 0 for n in size)
    torch.testing.assert_close(block(f)[1, 0], block_by_loops(block, f[1, 0], shift))


@torch.no_grad()
def test_encoder_is_swin_and_takes_its_weights():
    network = randomised(SwinUnet(NARROW, 8))
    swin = SwinTransformer(in_chans=2, embed_dim=24, depths=(2, 2, 2, 2), num_classes=0).eval()
    weights = network.state_dict()
    encoder = [name for name in weights if name.startswith(("patch_embed", "layers", "norm"))]
    # timm counts a merging to the level after it; Swin's own checkpoints, to the level before.
    renamed = {re.sub(r"(\d)\.down", lambda m: f"{int(m[1]) + 1}.down", k): weights[k] for k in encoder}
    swin.load_state_dict(renamed)
    x = torch.randn(1, 2, 224, 224)
    deepest, skips = network.encode(x)
    expected, levels = swin.forward_intermediates(x)
    torch.testing.assert_close(deepest[:, 0], expected, atol=1e-4, rtol=1e-4)
    for layer, skip, level in zip(network.layers, skips, levels, strict=True):
        torch.testing.assert_close(layer.blocks(skip)[:, 0].permute(0, 3, 1, 2), level, atol=1e-4, rtol=1e-4)


def expand_by_pixel_shuffle(part, x):
    """Patch expanding of (n, 1, h, w, c) with PyTorch's shuffle, which wants channels ordered (c p q)."""
    wide = part.expand(x[:, 0]).unflatten(-1, (part.stride[1] ** 2, -1)).transpose(-1, -2).flatten(-2)
    shuffled = nn.functional.pixel_shuffle(wide.permute(0, 3, 1, 2), part.stride[1])
    return part.norm(shuffled.permute(0, 2, 3, 1))[:, None]


@torch.no_grad()
def test_decoder_fuses_the_inputs_of_the_encoder():
    network = randomised(SwinUnet(replace(NARROW, depths=(1, 1, 1), heads=(1, 2, 4)), 8))
    images = torch.randn(1, 2, 64, 112)
    x, (zero, one, _) = network.encode(images)
    for level, other in zip(network.decoder, (one, zero), strict=True):
        x = level.blocks(level.fuse(torch.cat([expand_by_pixel_shuffle(level.expand, x), other], dim=-1)))
    x = expand_by_pixel_shuffle(network.expand, network.decoder_norm(x))
    expected = torch.einsum("nhwc,kc->nkhw", x[:, 0], network.output.weight[:, :, 0, 0])
    torch.testing.assert_close(network.forward_slices(images), expected, atol=1e-4, rtol=1e-4)


def test_axial_slices_are_segmented_one_by_one():
    network = randomised(SwinUnet(TINY, 3))
    x = torch.randn(2, 2, 11, 14, 3)
    with torch.no_grad():
        out = network(x)
        assert out.shape == (2, 3, 11, 14, 3)
        torch.testing.assert_close(out[1, ..., 2], network.forward_slices(x[1:2, ..., 2])[0])
        x[:, ..., 0] += 1.0
        torch.testing.assert_close(network(x)[..., 1:], out[..., 1:])


def test_stochastic_depth_rises_along_the_encoder_and_falls_along_the_decoder():
    with torch.device("meta"):
        network = SwinUnet(SIZES["published"], 8)
    rates = [m.drop_prob for m in network.modules() if isinstance(m, DropPath)]
    # The encoder's first block has none, nor has the decoder's last but one.
    encoder, decoder = [1, 2, 3, 4, 5, 6, 7], [4, 5, 2, 3, 1]
    assert rates == pytest.approx([0.2 * n / 7 for n in encoder + decoder])
