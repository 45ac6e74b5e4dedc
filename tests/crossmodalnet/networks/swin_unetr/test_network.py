import pytest
import torch
from monai.networks.nets.swin_unetr import SwinTransformerBlock, SwinUNETR

from crossmodalnet.networks.swin_unetr.network import ShallowSwinUNETR, build_swin_unetr

OPTIONS = {"size": "small", "checkpointing": False}


def make(**options):
    return build_swin_unetr(OPTIONS | options, (40, 40, 40), 8)


@pytest.mark.parametrize(("size", "count"), [("f48", 62_188_730), ("f24", 15_704_018)])
def test_parameters_are_the_published_ones(size, count):
    network = make(size=size)  # MONAI's cannot be built on the meta device
    assert sum(p.numel() for p in network.parameters()) == count


@torch.inference_mode()
def test_with_four_stages_the_shallow_network_is_monais():
    theirs = SwinUNETR(2, 3, feature_size=12, window_size=2).eval()
    ours = ShallowSwinUNETR(
        2, 3, features=12, depths=(2,) * 4, heads=(3, 6, 12, 24), window=2, checkpointing=False
    ).eval()
    vit = theirs.swinViT
    pairs = [(ours.patch_embed, vit.patch_embed), (ours.bottleneck, theirs.encoder10), (ours.out, theirs.out)]
    pairs += zip(
        ours.stages, (m[0] for m in (vit.layers1, vit.layers2, vit.layers3, vit.layers4)), strict=True
    )
    encoders = (theirs.encoder1, theirs.encoder2, theirs.encoder3, theirs.encoder4)
    pairs += zip(ours.encoders, encoders, strict=True)
    decoders = (theirs.decoder5, theirs.decoder4, theirs.decoder3, theirs.decoder2, theirs.decoder1)
    pairs += zip(ours.decoders, decoders, strict=True)
    for mine, other in pairs:
        mine.load_state_dict(other.state_dict())
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    x = torch.randn(1, 2, 32, 32, 64)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("batch", [1, 2])
def test_logits_and_gradients(batch):
    network = make()
    out = network(torch.randn(batch, 2, 40, 56, 48))
    assert out.shape == (batch, 8, 40, 56, 48)
    assert out.isfinite().all()
    out.square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("size", ["small", "f24"])
def test_checkpointing_runs_the_swin_blocks_again(size):
    runs = []
    network = make(size=size, checkpointing=True)
    block = next(m for m in network.modules() if isinstance(m, SwinTransformerBlock))
    block.mlp.register_forward_pre_hook(lambda *_: runs.append(1))
    out = network(torch.randn(1, 2, 16, 16, 16))
    assert out.shape == (1, 8, 16, 16, 16)
    assert len(runs) == 1
    out.sum().backward()
    assert len(runs) == 2
