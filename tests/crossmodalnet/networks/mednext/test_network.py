import pytest
import torch

from crossmodalnet.networks.mednext.network import SIZES, build_mednext

OPTIONS = {"size": "small", "deep_supervision": True, "checkpointing": False}


def make(**options):
    return build_mednext(OPTIONS | options, (40, 40, 40), 8)


@pytest.mark.parametrize(
    ("size", "count"), [("s", 5_558_856), ("b", 10_534_248), ("m", 17_556_904), ("l", 61_787_208)]
)
def test_parameters_are_the_published_ones(size, count):
    with torch.device("meta"):
        deep, plain = make(size=size), make(size=size, deep_supervision=False)
    assert sum(p.numel() for p in deep.parameters()) == count
    # Heads of 8 classes, with bias, on 64, 128, 256 and 512 channels.
    assert sum(p.numel() for p in plain.parameters()) == count - 8 * (64 + 128 + 256 + 512 + 4)


@pytest.mark.parametrize("size", SIZES)
def test_blocks_expand_as_published(size):
    with torch.device("meta"):
        network = make(size=size).network
    stages = [*network.enc_stages, network.bottleneck, *network.dec_stages]
    assert tuple(len(stage) for stage in stages) == SIZES[size].blocks
    middle = len(network.down_blocks)
    expansion = SIZES[size].expansion
    for level, block in enumerate(network.down_blocks):
        assert block.conv2.out_channels == expansion[level + 1] * block.conv1.in_channels
    for level, block in enumerate(network.up_blocks):
        assert block.conv2.out_channels == expansion[middle + 1 + level] * block.conv1.in_channels
    for ratio, stage in zip(expansion, stages, strict=True):
        assert stage[0].conv2.out_channels == ratio * stage[0].conv1.in_channels


@pytest.mark.parametrize("batch", [1, 2])
def test_deep_supervision_in_training(batch):
    network = make()
    outputs = network(torch.randn(batch, 2, 40, 56, 48))
    sizes = [(40, 56, 48), (20, 28, 24), (10, 14, 12), (5, 7, 6)]
    assert [tuple(o.shape) for o in outputs] == [(batch, 8, *size) for size in sizes]
    assert all(o.isfinite().all() for o in outputs)
    sum(o.square().mean() for o in outputs).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
