"""What every network of the comparison must do, whoever wrote it."""

import pytest
import torch
from timm.layers import DropPath

from crossmodalnet.networks.common.build import BUILDERS, DEEPLY_SUPERVISED, build_network
from crossmodalnet.training.objectives import evaluate_objectives
from tests.crossmodalnet.networks.conftest import BASELINES, options_of

LARGE = [((64, 64, 64), 1), ((64, 64, 64), 2), ((96, 80, 112), 1), ((96, 80, 112), 2)]


def build(name, patch_size=(40, 40, 40), **changes):
    torch.manual_seed(0)
    return build_network(name, options_of(name, **changes), patch_size=patch_size)


@pytest.mark.parametrize(
    ("name", "size", "count"),
    # PrimusV2's are those of dynamic-network-architectures 0.4.4, with a position for each of 16^3 tokens.
    [("primus", "s", 25_775_764), ("primus", "b", 96_284_928), ("resenc_unet", "m", 102_355_464),
     ("swin_unet", "published", 27_167_268), ("swin_unetr", "f24", 15_704_018), ("swin_unetr", "f48", 62_188_730),
     ("swin_unetr", "v2", 72_764_090), ("vtunet", "c48", 5_381_004), ("vtunet", "c72", 11_785_572),
     ("vtunet", "c96", 20_745_276)],
)  # fmt: skip
def test_published_sizes_have_the_published_number_of_parameters(name, size, count):
    # MONAI's and the transformer of nnU-Net's library cannot be built on the meta device.
    with torch.device("cpu" if name in ("primus", "swin_unetr") else "meta"):
        network = build(name, (128, 128, 128), size=size)
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize(
    ("size", "batch"),
    [((40, 56, 48), 1), ((40, 56, 48), 2), *(pytest.param(*more, marks=pytest.mark.stress) for more in LARGE)],
)
@pytest.mark.parametrize("name", BUILDERS)
def test_any_size_and_batch_gives_logits_and_gradients_everywhere(name, size, batch):
    network = build(name, size).train()
    for module in network.modules():  # a branch that is skipped by chance has no gradient in that step
        if isinstance(module, DropPath):
            module.drop_prob = 0.0
    x, target = torch.rand(batch, 2, *size), torch.randint(0, 8, (batch, *size))
    out = network(x)
    assert isinstance(out, list) == (name in DEEPLY_SUPERVISED)
    levels = out if isinstance(out, list) else [out]
    assert (len(levels) > 2) == (name in DEEPLY_SUPERVISED)
    assert [level.shape for level in levels] == [(batch, 8, *(n >> s for n in size)) for s in range(len(levels))]
    assert all(level.isfinite().all() for level in levels)
    evaluate_objectives(("dice", "ce"), out, target).sum().backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", sorted(DEEPLY_SUPERVISED))
def test_without_deep_supervision_there_is_one_output_in_training_too(name):
    out = build(name, deep_supervision=False).train()(torch.rand(1, 2, 40, 40, 40))
    assert out.shape == (1, 8, 40, 40, 40)


@pytest.mark.parametrize(("changes", "named"), [({"colour": 1}, "colour"), ({"size": "huge"}, "'huge'")])
@pytest.mark.parametrize("name", BUILDERS)
def test_unknown_options_and_sizes_are_named(name, changes, named):
    with pytest.raises(ValueError, match=named):
        build(name, **changes)


@pytest.mark.parametrize("name", BASELINES)
@torch.inference_mode()
def test_bfloat16_autocast_stays_close(name):
    network, x = build(name, (16, 16, 16)).eval(), torch.randn(1, 2, 16, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x)
    torch.testing.assert_close(half.float(), network(x), atol=0.1, rtol=0.1)


@pytest.mark.parametrize("size", [(8, 8, 8), (16, 17, 16), (40, 21, 19)])
@pytest.mark.parametrize("name", BASELINES)
@torch.inference_mode()
def test_any_size_and_cases_of_a_batch_do_not_mix(name, size):
    # In float64, so that what mixes is not taken for rounding, nor rounding for it.
    network = build(name).eval().double()
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    out = network(x)
    assert out.shape == (2, 8, *size)
    torch.testing.assert_close(out[1:], network(x[1:]))


@pytest.mark.parametrize("name", BUILDERS)
def test_checkpointing_gives_the_same_gradients_and_keeps_less_for_them(name):
    gradients, kept, x = [], [], torch.randn(2, 2, 16, 24, 16)
    more = {"depths": (1, 1)} if name == "crossmodalnet" else {}  # convolutions are never computed again
    for checkpointing in (False, True):
        network, sizes = build(name, (16, 24, 16), checkpointing=checkpointing, **more).train(), {}
        torch.manual_seed(1)  # of branches that are skipped by chance
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, sizes=sizes: sizes.__setitem__(t.data_ptr(), t.nbytes) or t, lambda t: t
        ):
            out = network(x)
        sum(o.square().mean() for o in (out if isinstance(out, list) else [out])).backward()
        gradients.append([p.grad for p in network.parameters()])
        kept.append(sum(sizes.values()) - sum(p.nbytes for p in network.parameters()))
    assert all(map(torch.equal, *gradients))
    assert kept[1] < 0.6 * kept[0]
