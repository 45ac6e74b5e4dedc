import itertools

import pytest
import torch
from torch import nn

from crossmodalnet.imaging.samples import without
from crossmodalnet.networks.crossmodalnet.blocks import CrossTransformerBlock
from crossmodalnet.networks.crossmodalnet.network import DualLayer
from tests.crossmodalnet.networks.conftest import SMALL

PER_LEVEL = ("depths", "heads", "cross_window", "num_points")


def gradients(network: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    network.zero_grad()
    torch.nn.functional.cross_entropy(network(x), torch.zeros(x[:, 0].shape, dtype=torch.long)).backward()
    return {name: p.grad for name, p in network.named_parameters()}


def least(name: str) -> float:
    """The norm after a map of a single channel leaves of its weights their sign, and no gradient but by its epsilon."""
    return 0.0 if name.endswith("blocks.0.project.weight") and name.startswith("stems.") else 1e-8


class Affine(nn.Module):
    """A stand-in for a Cross Transformer block: `F_own + scale * F_other`."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, own, other):
        return own + self.scale * other


def test_both_streams_are_updated_at_once_from_old_features():
    layer = DualLayer([nn.Identity(), nn.Identity()], [Affine(10.0), Affine(100.0)])
    a, b = layer(torch.tensor(1.0), torch.tensor(2.0))
    assert (a, b) == (1 + 10 * 2, 2 + 100 * 1)


def test_a_layer_is_swin_then_cross(make):
    layer = make().encoder[0][0]
    a, b = torch.randn(2, 1, 8, 8, 8, 6)
    swin_a, swin_b = layer.swin[0](a), layer.swin[1](b)
    out = layer(a, b)
    torch.testing.assert_close(out[0], layer.cross[0](swin_a, swin_b))
    torch.testing.assert_close(out[1], layer.cross[1](swin_b, swin_a))
    assert [block.shift for block in layer.swin[0]] == [(0, 0, 0), (2, 2, 2)]


@pytest.mark.parametrize("patch_size", [(32, 48, 16), (16, 24, 8), (8, 40, 8)])
def test_logits_cover_any_patch_the_strides_divide(make, patch_size):
    out = make(patch_size)(torch.randn(1, 2, *patch_size))
    assert out.shape == (1, 8, *patch_size)
    assert out.isfinite().all()


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


@pytest.mark.parametrize("options", [{"transitions": "conv"}, {"depths": (1,), "stem": "conv"}])
def test_one_token_cannot_be_normalised_over_space(make, options):
    one = {name: SMALL[name][: len(options.get("depths", "ab"))] for name in PER_LEVEL}
    size = (4, 4, 4) if "transitions" in options else (2, 2, 2)
    with pytest.raises(ValueError, match="two tokens at the deepest level"):
        make(size, **{**one, **options})
    linear = {name: "linear" for name in ("transitions", "stem") if name in options}
    assert make(size, **{**one, **options, **linear})(torch.randn(1, 2, *size)).shape == (1, 8, *size)


@pytest.mark.parametrize("transitions", ["linear", "conv"])
def test_features_halve_and_double_per_level(make, transitions):
    network = make(depths=(2, 1), transitions=transitions)
    shapes = [tuple(a.shape) for a, _ in network.features(torch.randn(1, 2, 16, 16, 16))]
    fine, coarse = (1, 6, 8, 8, 8), (1, 12, 4, 4, 4)
    assert shapes == [fine, fine, fine, coarse, fine, fine]


@pytest.mark.parametrize("transitions", ["linear", "conv"])
@pytest.mark.parametrize("stream", [0, 1])
def test_skip_connections_are_used(make, stream, transitions):
    network = make(cross=False, transitions=transitions)
    x = torch.randn(1, 2, 16, 16, 16)
    before = network(x)
    skip = network.skips[0][stream]
    skip.register_forward_pre_hook(lambda _, inputs: (inputs[0], torch.zeros_like(inputs[1])))
    assert not torch.allclose(network(x), before, atol=1e-3)


OPTIONS = {
    "values": ["a", "b"],
    "similarity": ["dot", "cosine"],
    "residual": ["paper", "standard"],
    "offsets": ["static", "predicted"],
}


@pytest.mark.parametrize("options", list(itertools.product(*OPTIONS.values())), ids="-".join)
def test_gradients_reach_every_parameter(make, options):
    network = make((16, 12, 8), **dict(zip(OPTIONS, options, strict=True)))
    for name, grad in gradients(network, torch.randn(1, 2, 16, 12, 8)).items():
        assert grad is not None, name
        assert grad.isfinite().all(), name
        assert grad.abs().max() > least(name), name


@pytest.mark.parametrize(
    "options",
    [{"cross": False}, {"deformable": False}, {"deformable": False, "similarity": "cosine"},
     {"refines": "queries"}, {"refines": "queries", "values": "a"}, {"stem": "linear"}, {"position": "sincos"},
     {"stem": "conv"}, {"transitions": "conv"}, {"stem": "conv", "transitions": "conv", "patch_embedding": (4, 2, 4)},
     {"stem": "linear", "transitions": "conv"},
     {"checkpointing": True}, {"depths": (2, 2)}, {"cross_window": (None, (2, 2, 2))}],
    ids=str,
)  # fmt: skip
def test_gradients_reach_every_parameter_of_other_options(make, options):
    for name, grad in gradients(make(**options), torch.randn(1, 2, 16, 16, 16)).items():
        assert grad is not None, name
        assert grad.isfinite().all(), name
        assert grad.abs().max() > least(name), name


def test_without_cross_blocks_the_streams_do_not_meet(make):
    network = make(cross=False)
    x = torch.randn(1, 2, 16, 16, 16)
    other_mr = torch.stack([x[:, 0], torch.randn(1, 16, 16, 16)], dim=1)
    for (a, _), (same, _) in zip(network.features(x), network.features(other_mr), strict=True):
        assert torch.equal(a, same)


def test_with_cross_blocks_the_first_layer_mixes_the_streams(make):
    network = make()
    x = torch.randn(1, 2, 16, 16, 16)
    other_mr = torch.stack([x[:, 0], torch.randn(1, 16, 16, 16)], dim=1)
    embedded, mixed = zip(network.features(x)[:2], network.features(other_mr)[:2], strict=True)
    assert torch.equal(embedded[0][0], embedded[1][0])
    assert not torch.allclose(mixed[0][0], mixed[1][0], atol=1e-3)


def test_checkpointing_gives_the_same_gradients(make):
    plain, checkpointed = make(), make(checkpointing=True)
    checkpointed.load_state_dict(plain.state_dict())
    x = torch.randn(2, 2, 16, 16, 16)
    grads = []
    for network in (plain, checkpointed):
        torch.manual_seed(1)
        grads.append(gradients(network, x))
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, msg=name)


def test_two_runs_agree_bit_for_bit(make):
    network = make()
    x = torch.randn(2, 2, 16, 16, 16)
    first, second = gradients(network, x), {k: v.clone() for k, v in gradients(network, x).items()}
    assert all(torch.equal(first[name], second[name]) for name in first)


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
    assert all(grad is not None for grad in gradients(network, x.detach()).values())


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


@pytest.mark.parametrize(
    "options", [{"stem": "linear"}, {"transitions": "linear"}, {"streams": "ct"}], ids=str
)
def test_deep_supervision_reaches_every_parameter(make, options):
    network = make(deep_supervision=True, patch_embedding=(4, 4, 4), **options)
    torch.stack([level.square().mean() for level in network(torch.rand(1, 2, 16, 16, 16))]).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


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
