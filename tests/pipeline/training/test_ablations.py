import pytest
import torch

from crossmodalnet.networks.common.build import build_network
from crossmodalnet.networks.crossmodalnet.blocks import CrossTransformerBlock, SwinBlock
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator
from pipeline.config.variants import ABLATIONS

KINDS = (SwinBlock, CrossTransformerBlock, DeformableOperator)


@pytest.mark.parametrize(
    ("ablation", "left"),
    [
        ("no_cross", {SwinBlock}),
        ("no_deformable", {SwinBlock, CrossTransformerBlock}),
        ("conv_only", set()),
        ("standard_residual", set(KINDS)),
    ],
)
def test_what_an_ablation_leaves(ablation: str, left: set[type]) -> None:
    params = CrossModalNetConfig(channels=6, heads=(1, 2), stem_channels=(2,), head_channels=4)
    options = params.model_copy(update=dict(ABLATIONS[ablation].changes)).options()
    network = build_network("crossmodalnet", options, patch_size=(16, 16, 16))
    assert {kind for kind in KINDS if any(isinstance(m, kind) for m in network.modules())} == left
    assert network(torch.rand(1, 2, 16, 16, 16)).shape == (1, 8, 16, 16, 16)
