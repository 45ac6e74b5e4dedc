import pytest
import torch
from monai.networks.nets.swin_unetr import SwinTransformerBlock, SwinUNETR

from crossmodalnet.networks.swin_unetr.network import ShallowSwinUNETR, build_swin_unetr


@pytest.mark.parametrize("use_v2", [False, True])
@torch.inference_mode()
def test_with_four_stages_the_shallow_network_is_monais(use_v2):
    shape = {"feature_size": 12, "depths": (2,) * 4, "num_heads": (3, 6, 12, 24), "window_size": 2, "use_v2": use_v2}
    theirs, ours = (kind(2, 3, **shape, use_checkpoint=False).eval() for kind in (SwinUNETR, ShallowSwinUNETR))
    vit = theirs.swinViT
    pairs = [(ours.patch_embed, vit.patch_embed), (ours.bottleneck, theirs.encoder10), (ours.out, theirs.out)]
    for n in range(4):
        pairs += [(ours.stages[n], getattr(vit, f"layers{n + 1}")[0])]
        pairs += [(ours.convolutions[n], getattr(vit, f"layers{n + 1}c")[0])] if use_v2 else []
        pairs += [(ours.encoders[n], getattr(theirs, f"encoder{n + 1}"))]
    pairs += [(ours.decoders[n], getattr(theirs, f"decoder{5 - n}")) for n in range(5)]
    for mine, other in pairs:
        mine.load_state_dict(other.state_dict())
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    x = torch.randn(1, 2, 32, 32, 64)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("size", ["small", "f24"])
def test_checkpointing_runs_the_swin_blocks_again(size):
    runs = []
    network = build_swin_unetr({"size": size, "checkpointing": True}, (40, 40, 40), 8)
    block = next(m for m in network.modules() if isinstance(m, SwinTransformerBlock))
    block.mlp.register_forward_pre_hook(lambda *_: runs.append(1))
    out = network(torch.randn(1, 2, 16, 16, 16))
    assert out.shape == (1, 8, 16, 16, 16)
    assert len(runs) == 1
    out.sum().backward()
    assert len(runs) == 2
