import pytest
import torch

from crossmodalnet.networks.resenc_unet.network import build_resenc_unet, plan_strides

OPTIONS = {"size": "small", "deep_supervision": True, "checkpointing": False}


def make(patch_size=(40, 40, 40), **options):
    return build_resenc_unet(OPTIONS | options, patch_size, 8)


@pytest.mark.parametrize(
    ("patch_size", "halvings"),
    [((128, 128, 128), [(2, 2, 2)] * 5),
     ((40, 56, 40), [(2, 2, 2)] * 3),  # nnU-Net's plan for the hippocampus
     ((64, 64, 8), [(2, 2, 2), (2, 2, 1), (2, 2, 1), (2, 2, 1)]),
     ((32, 4, 4), [(2, 1, 1), (2, 1, 1)]), ((7, 8, 9), [(1, 2, 2)])],
)  # fmt: skip
def test_strides_are_those_of_nnunet(patch_size, halvings):
    assert plan_strides(patch_size) == [(1, 1, 1), *halvings]


def test_a_patch_too_small():
    with pytest.raises(ValueError, match=r"two axes of 8 voxels or one of 12, got \(7, 11, 4\)"):
        make((7, 11, 4))


def test_every_weight_learns_without_deep_supervision():
    network = make(deep_supervision=False)
    network(torch.randn(1, 2, 16, 24, 16)).square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_residual_branches_begin_near_zero():
    names = [n for n, p in make().named_parameters() if n.endswith("weight") and p.abs().max() < 2e-3]
    assert len(names) == 1 + 2 + 2 + 2
    assert all(".conv2.all_modules.1.weight" in name for name in names)


@torch.inference_mode()
def test_a_flat_patch_keeps_its_short_axis():
    assert make((64, 64, 8)).eval()(torch.randn(1, 2, 30, 16, 6)).shape == (1, 8, 30, 16, 6)


def test_weights_are_stored_once():
    network = make()
    tensors = network.state_dict().values()
    assert len({t.data_ptr() for t in tensors}) == len(tensors) == len(list(network.parameters()))
