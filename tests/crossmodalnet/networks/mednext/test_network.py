import pytest
import torch

from crossmodalnet.networks.mednext.network import SIZES, build_mednext

OPTIONS = {"size": "small", "deep_supervision": True, "checkpointing": False}


def make(**options):
    return build_mednext(OPTIONS | options, (40, 40, 40), 8)


@pytest.mark.parametrize(("size", "count"), [("s", 5_558_856), ("b", 10_534_248), ("m", 17_556_904), ("l", 61_787_208)])
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
    expansion = SIZES[size].expansion
    blocks = [stage[0] for stage in stages], [*network.down_blocks, *network.up_blocks]
    for ratios, of_kind in zip((expansion, expansion[1:]), blocks, strict=True):
        assert [block.conv2.out_channels / block.conv1.in_channels for block in of_kind] == list(ratios)
