"""Define the audited network with its cases, and helpers that several checks share."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.metrics.overlap import dice
from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.config import BuildConfig
from crossmodalnet.training.balancing import Balancing

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class AuditSubject:
    """A trained network with all that its checks need."""

    network: nn.Module  # in evaluation mode
    initial: nn.Module  # before training, on the same device
    config: BuildConfig | None  # None for a network other than CrossModalNet
    patch_size: Triple
    training: Sequence[LabelledCase]  # pairs cut to the patch, on the CPU
    test: Sequence[LabelledCase]
    objectives: tuple[str, ...]  # keys of `OBJECTIVES`
    balancing: Balancing
    alpha: float
    curves: Mapping[str, Sequence[float]]  # `loss_<objective>` and `weight_<objective>`: means of each epoch

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return next(self.network.parameters()).device

    @property
    def crosses(self) -> bool:
        """True if two streams attend to each other; most statements are about such networks."""
        return self.config is not None and self.config.crosses

    @property
    def token_size(self) -> Triple:
        """Tokens per axis at the finest level of CrossModalNet."""
        assert self.config is not None
        d, h, w = (n // s for n, s in zip(self.patch_size, self.config.patch_embedding, strict=True))
        return d, h, w

    def images(self, cases: Sequence[LabelledCase]) -> Tensor:
        """Stack cases to `(n, 2, d, h, w)` on the network's device."""
        return torch.stack([case.image for case in cases]).to(self.device)


def capture_inputs(network: nn.Module, image: Tensor, kind: type[M]) -> dict[str, tuple[M, tuple[Any, ...]]]:
    """Run the network on `(b, 2, d, h, w)`; return modules of class `kind` and their arguments by readable name."""
    captured: dict[str, tuple[M, tuple[Any, ...]]] = {}
    names = {module: name for name, module in network.named_modules() if isinstance(module, kind)}

    def keep(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        assert isinstance(module, kind)
        captured[readable(names[module])] = (module, arguments)

    handles = [module.register_forward_pre_hook(keep) for module in names]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return captured


def readable(name: str) -> str:
    """Format a module name: `encoder.0.1.swin.1.0` as `encoder 1.2 MR swin 1`; other names stay."""
    parts = name.split(".")
    if len(parts) < 5 or parts[0] not in ("encoder", "decoder"):
        return name
    side, level, layer, part, stream = parts[:5]
    words = [f"{side} {int(level) + 1}.{int(layer) + 1}", ("CT", "MR")[int(stream)], part]
    return " ".join([*words, *(str(int(p) + 1) if p.isdigit() else p for p in parts[5:])])


def relative_deviation(actual: Tensor, expected: Tensor) -> float:
    """Compute `||actual - expected|| / ||expected||`."""
    actual, expected = actual.detach(), expected.detach()
    return float((actual - expected).norm() / expected.norm().clamp_min(torch.finfo(expected.dtype).tiny))


@contextmanager
def isolated_seed(seed: int) -> Iterator[None]:
    """Seed torch's global generator inside the block and restore it afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def mean_dice(predicted: Tensor, truth: Tensor) -> float:
    """Average Dice over the structures in the truth (1 without any); class indices on the CPU."""
    prediction, label = predicted.numpy(), truth.numpy()
    scores = [dice(prediction == index, label == index) for index in np.unique(label) if index > 0]
    return float(np.mean(scores)) if scores else 1.0
