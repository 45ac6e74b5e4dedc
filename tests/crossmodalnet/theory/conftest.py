from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crossmodalnet.data.dataset import LabelledCase
from crossmodalnet.networks.build import build_network
from crossmodalnet.networks.config import CrossModalNetConfig
from crossmodalnet.theory.subject import Settings, Subject
from pipeline.params.network import CrossModalNetParams

SIZE = (16, 16, 16)
SMALL: dict[str, Any] = {
    "channels": 6, "depths": (1, 1), "heads": (1, 2), "cross_window": ((4, 4, 4), None), "num_points": (2, 2),
    "mlp_ratio": 1.0, "head_channels": 4, "stem_channels": 2,
}  # fmt: skip
EPOCHS = 6


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def settings() -> Settings:
    """As quick as can be."""
    return Settings(
        seed=0, num_cases=3, tokens_per_case=100, components=2, neighbours=4, approximation_steps=2,
        overfit_steps=10, rademacher_draws=20, power_iterations=3, attack_steps=2, attack_radius=1.0,
    )  # fmt: skip


@pytest.fixture
def make_subject() -> Callable[..., Subject]:
    """An untrained two-level network as if it were trained; keyword arguments change its options."""

    def build(
        balancing: Any = "paper", objectives: tuple[str, ...] = ("dice", "ce"), **options: Any
    ) -> Subject:
        chosen = CrossModalNetParams(**{**SMALL, **options}).options()
        networks = [_network(chosen, seed) for seed in (0, 1)]
        cases = [_case(seed) for seed in range(6)]
        falling = torch.linspace(1, 0.1, EPOCHS).tolist()
        first = [0.7 if balancing == "harder" else 0.5 if balancing == "uniform" else 0.3] * EPOCHS
        curves = {"loss_dice": falling, "loss_ce": [0.5 * x for x in falling], "weight_dice": first,
                  "weight_ce": [1 - x for x in first]}  # fmt: skip
        config = CrossModalNetConfig.from_mapping(chosen)
        return Subject(*networks, config, SIZE, cases[:3], cases[3:], objectives, balancing, 0.5, curves)

    return build


def _network(options: dict[str, Any], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build_network("crossmodalnet", options, patch_size=SIZE).eval()


def _case(seed: int) -> LabelledCase:
    """Two smooth, dependent images in [0, 1] of blobs, and labels where they are bright."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(2, 1, *SIZE, generator=generator)
    ct, mr = (_smooth(image) for image in noise)
    image = torch.cat([ct, 0.7 * ct + 0.3 * mr])
    label = torch.bucketize(ct[0], torch.linspace(0.45, 0.55, 3)).to(torch.uint8)
    return LabelledCase(f"case_{seed}", image, label)


def _smooth(image: Tensor) -> Tensor:
    return nn.functional.avg_pool3d(image, 3, 1, 1, count_include_pad=False)
