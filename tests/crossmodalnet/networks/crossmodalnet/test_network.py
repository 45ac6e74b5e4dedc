import itertools

import pytest
import torch
from torch import nn

from crossmodalnet.imaging.samples import without
from crossmodalnet.networks.crossmodalnet.blocks import CrossTransformerBlock


def gradients(network: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    network.zero_grad()
    out = network(x)
    levels = out if isinstance(out, list) else [out]
    sum(-level.log_softmax(1)[:, 0].mean() for level in levels).backward()  # all voxels are background
    return {name: p.grad for name, p in network.named_parameters()}


def least(name: str) -> float:
    """The norm after a map of a single channel leaves of its weights their sign, and no gradient but by its epsilon."""
    return 0.0 if name.endswith("blocks.0.project.weight") and name.startswith("stems.") else 1e-8


def test_a_layer_is_swin_then_cross_of_both_streams_at_once(make):
    layer = make().encoder[0][0]
    a, b = torch.randn(2, 1, 8, 8, 8, 6)
    swin_a, swin_b = layer.swin[0](a), layer.swin[1](b)
    out = layer(a, b)
    torch.testing.assert_close(out[0], layer.cross[0](swin_a, swin_b))
    torch.testing.assert_close(out[1], layer.cross[1](swin_b, swin_a))
    assert [block.shift for block in layer.swin[0]] == [(0, 0, 0), (2, 2, 2)]


@pytest.mark.parametrize("transitions", ["linear", "conv"])
@pytest.mark.parametrize("stem", ["linear", "conv"])
@pytest.mark.parametrize("stride", [(1, 2, 4), (4, 4, 2), (1, 1, 1)])
def test_anisotropic_patch_embedding(make, stride, stem, transitions):
    patch_size = tuple(4 * s for s in stride)
    network = make(patch_size, patch_embedding=stride, stem=stem, transitions=transitions)
    assert network(torch.randn(2, 2, *patch_size)).shape == (2, 8, *patch_size)


def test_linear_stem_and_transitions_are_patch_embedding_merging_expanding_and_nothing_else(make):
    network = make(stem="linear", transitions="linear")
    assert not any(isinstance(m, nn.InstanceNorm3d | nn.ConvTranspose3d) for m in network.modules())
    assert [m for m in network.modules() if isinstance(m, nn.Conv3d)] == [network.head.classify]


@pytest.mark.parametrize("transitions", ["linear", "conv"])
def test_features_halve_and_double_per_level(make, transitions):
    fine, coarse = (1, 6, 8, 8, 8), (1, 12, 4, 4, 4)
    for depths, expected in (
        ((2, 1), [fine, fine, fine, coarse, fine, fine]),
        ((0, 2), [fine, coarse, coarse, fine]),  # no layer at the finer level: the skip fusion's output there
        ((1, 0), [fine, fine, coarse, fine]),
    ):
        network = make(depths=depths, transitions=transitions)
        assert [tuple(a.shape) for a, _ in network.features(torch.randn(1, 2, 16, 16, 16))] == expected


def test_a_coarser_level_reads_the_layers_of_the_finer_one(make):
    network, seen = make(), []
    network.encoder[0][-1].register_forward_hook(lambda *call: seen.append(call[2]))
    network.mergings[0][1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.randn(1, 2, 16, 16, 16))
    assert torch.equal(seen[1], seen[0][1])


@pytest.mark.parametrize("transitions", ["linear", "conv"])
@pytest.mark.parametrize("stream", [0, 1])
def test_skip_connections_are_used(make, stream, transitions):
    network = make(cross=False, transitions=transitions)
    x = torch.randn(1, 2, 16, 16, 16)
    before = network(x)
    skip = network.skips[0][stream]
    skip.register_forward_pre_hook(lambda _, inputs: (inputs[0], torch.zeros_like(inputs[1])))
    assert not torch.allclose(network(x), before, atol=1e-3)


DEEP = {"deep_supervision": True, "patch_embedding": (4, 2, 4)}


@pytest.mark.parametrize(
    "options",
    [*({"values": v, "similarity": s, "residual": r, "offsets": o} for v, s, r, o in itertools.product(
         "ab", ("dot", "cosine"), ("paper", "standard"), ("static", "predicted"))),
     {"cross": False}, {"deformable": False}, {"deformable": False, "similarity": "cosine"},
     {"refines": "queries"}, {"refines": "queries", "values": "a"}, {"stem": "linear"}, {"position": "sincos"},
     {"stem": "conv"}, {"transitions": "conv"}, {"stem": "conv", "transitions": "conv", "patch_embedding": (4, 2, 4)},
     {"stem": "linear", "transitions": "conv"}, {"checkpointing": True}, {"depths": (2, 2)}, {"depths": (0, 1), **DEEP},
     {"cross_window": (None, (2, 2, 2))}, {"streams": "ct"}, {"streams": "mr"},
     {"stem": "linear", **DEEP}, {"transitions": "linear", **DEEP}, {"streams": "ct", **DEEP},
     {"depths": (1, 0), **DEEP}],
    ids=str,
)  # fmt: skip
def test_gradients_reach_every_parameter(make, options):
    for name, grad in gradients(make((16, 12, 8), **options), torch.randn(1, 2, 16, 12, 8)).items():
        assert grad is not None, name
        assert grad.isfinite().all(), name
        assert grad.abs().max() > least(name), name


@pytest.mark.parametrize("cross", [False, True])
def test_streams_meet_in_cross_blocks_alone(make, cross):
    network, x = make(cross=cross), torch.randn(1, 2, 16, 16, 16)
    other_mr = torch.stack([x[:, 0], torch.randn(1, 16, 16, 16)], dim=1)
    pairs = [(a, same) for (a, _), (same, _) in zip(*map(network.features, (x, other_mr)), strict=True)]
    assert all(torch.equal(*pair) for pair in pairs[: 1 if cross else None])
    assert torch.allclose(*pairs[1], atol=1e-3) is not cross


def test_static_offsets_refuse_other_sizes(make):
    with pytest.raises(ValueError, match=r"static .* \(16, 16, 16\) voxels, got \(24, 16, 16\)"):
        make()(torch.randn(1, 2, 24, 16, 16))


@pytest.mark.parametrize("shape", [(1, 1, 16, 16, 16), (2, 16, 16, 16)])
def test_input_without_two_channels_is_refused(make, shape):
    with pytest.raises(ValueError, match="batch, 2, depth"):
        make()(torch.randn(shape))


def test_state_dict_holds_parameters_only(make):
    network = make()
    assert set(network.state_dict()) == {name for name, _ in network.named_parameters()}


@pytest.mark.parametrize(
    "options",
    [{}, {"similarity": "cosine", "values": "a"}, {"offsets": "predicted", "stem": "conv"},
     {"stem": "conv", "transitions": "conv"}],
    ids=str,
)  # fmt: skip
def test_mixed_precision_agrees_roughly(make, options):
    network = make((12, 16, 20), position="sincos", **options)
    x = torch.randn(1, 2, 12, 16, 20)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x)
    full = network(x)
    assert (half - full).abs().mean() < 0.05 * full.std()
    half.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(("streams", "channel"), [("ct", 0), ("mr", 1)])
def test_one_stream_reads_one_image_and_has_no_cross_blocks(make, streams, channel):
    network = make(streams=streams).eval()
    x = torch.randn(1, 2, 16, 16, 16).requires_grad_()
    (grad,) = torch.autograd.grad(network(x).square().sum(), x)
    assert grad[:, channel].abs().sum() > 0
    assert not grad[:, 1 - channel].any()
    assert not any("cross" in name for name, _ in network.named_parameters())


@pytest.mark.parametrize(("stem", "levels"), [("conv", [16, 8, 4, 2]), ("linear", [16, 4, 2])])
def test_deep_supervision_gives_logits_of_all_coarser_maps_in_training_alone(make, stem, levels):
    network = make(deep_supervision=True, stem=stem, patch_embedding=(4, 4, 4))
    x = torch.randn(2, 2, 16, 16, 16)
    assert [tuple(logits.shape) for logits in network(x)] == [(2, 8, n, n, n) for n in levels]
    alone = make(stem=stem, patch_embedding=(4, 4, 4))
    assert not alone.load_state_dict(network.state_dict(), strict=False).missing_keys
    torch.testing.assert_close(network.eval()(x), network.train()(x)[0])
    torch.testing.assert_close(alone(x), network(x)[0])


@pytest.mark.parametrize("options", [{"stem": "conv"}, {"stem": "linear"}, {"transitions": "conv"}], ids=str)
def test_a_missing_image_is_not_looked_at_and_leaves_the_other_samples_alone(make, options):
    network = make(missing_token=True, **options).eval()
    x = torch.rand(2, 2, 16, 16, 16)
    pair = torch.stack([without(x[0], 1), x[1]])
    torch.testing.assert_close(network(pair)[1], network(x)[1])
    (embedded, *_) = network.features(pair)
    assert torch.equal(embedded[1][0], network.missing[1].view(-1, 1, 1, 1).expand_as(embedded[1][0]))
    pair.requires_grad_()
    (grad,) = torch.autograd.grad(network(pair)[0].square().sum(), pair)
    assert grad[0, 0].abs().sum() > 0
    assert not grad[0, 1].any()


def test_the_missing_token_learns_from_samples_without_the_image(make):
    network = make(missing_token=True)
    network(without(torch.rand(1, 2, 16, 16, 16), 1)).square().mean().backward()
    ct, mr = (token.grad for token in network.missing)
    assert not ct.any()
    assert mr.abs().max() > 0


@pytest.mark.parametrize("residual", ["paper", "standard"])
def test_cross_blocks_begin_with_a_share_of_their_branches(make, residual):
    def change(scale):
        torch.manual_seed(0)
        network = make(residual=residual, cross_scale=scale)
        block = next(module for module in network.modules() if isinstance(module, CrossTransformerBlock))
        own, other = torch.randn(2, 1, *block.sampler.size, block.norm.normalized_shape[0])
        return (block(own, other) - own).std()

    assert change(0.01) < 0.05 * change(1.0)
    assert change(1.0) > 0.1
