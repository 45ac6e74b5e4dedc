"""Small networks as if they were trained, with cases, for the checks of the paper's claims."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.networks.common.build import build_network
from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.config import BuildConfig
from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.theory.findings import CheckOutcome, Verdict
from crossmodalnet.theory.subject import AuditSubject

SMALL: dict[str, Any] = {
    "channels": 6, "depths": (1, 1), "heads": (1, 2), "cross_window": ((4, 4, 4), None), "num_points": (2, 2),
    "mlp_ratio": 1.0, "head_channels": 4, "stem_channels": (2,), "patch_embedding": (2, 2, 2), "window": (4, 4, 4),
    "transitions": "linear",
}  # fmt: skip
QUICK = AuditConfig(tokens_per_case=100, components=2, approximation_steps=2, overfit_steps=10)


def chosen(**options: Any) -> dict[str, Any]:
    """Give the options of a small network; keywords change them."""
    return BuildConfig(**{**SMALL, **options}).options()


def make_subject(balancing: Any = "paper", size: int = 16, **options: Any) -> AuditSubject:
    """Make an untrained two-level network of six channels as if it were trained; keywords change its options."""
    values = chosen(**options)
    patch = (size, size, size)
    networks = [make_network(values, patch, seed) for seed in (0, 1)]
    cases = [make_case(patch, seed) for seed in range(6)]
    loss, weight = torch.linspace(1, 0.1, 6), {"paper": 0.3, "harder": 0.7, "uniform": 0.5}[balancing]
    first = torch.full((6,), weight)
    curves = {"loss_dice": loss, "loss_ce": loss / 2, "weight_dice": first, "weight_ce": 1 - first}
    curves = {name: curve.tolist() for name, curve in curves.items()}
    config = BuildConfig(**values)
    return AuditSubject(*networks, config, patch, cases[:3], cases[3:], ("dice", "ce"), balancing, 0.5, curves)


def verdicts(outcome: CheckOutcome) -> dict[str, Verdict]:
    """Give the verdict of each statement."""
    return {finding.key: finding.verdict for finding in outcome.findings}


def make_network(options: dict[str, Any], patch: tuple[int, int, int], seed: int) -> nn.Module:
    """Build a network with the weights of a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_network("crossmodalnet", options, patch_size=patch).eval()


def make_case(size: tuple[int, int, int], seed: int) -> LabelledCase:
    """Two smooth, dependent images in [0, 1], and labels where they are bright."""
    noise = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(seed))
    ct, mr = nn.functional.avg_pool3d(noise, 3, 1, 1, count_include_pad=False)
    image = torch.cat([ct, 0.7 * ct + 0.3 * mr])
    label = torch.bucketize(ct[0], torch.linspace(0.45, 0.55, 3)).to(torch.uint8)
    return LabelledCase(f"case_{seed}", image, label)


def stretch(function: Callable[..., Tensor], *inputs: Tensor, argument: int = 0) -> float:
    """Largest singular value of the dense Jacobian in one argument."""
    jacobian = torch.autograd.functional.jacobian(function, inputs)[argument]
    return float(torch.linalg.matrix_norm(jacobian.reshape(-1, inputs[argument].numel()).double(), 2))


def unit_attention(dim: int, **options: Any) -> CrossAttention:
    """Cross attention of one head whose projections are the identity."""
    attention = CrossAttention(dim, 1, **options)
    for projection in (attention.query, attention.key, attention.value):
        nn.init.eye_(projection.weight)
    return attention


def vary(module: nn.Module) -> nn.Module:
    """Draw all weights anew, norms included."""
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.7)
    return module


def points(*shape: int) -> list[Tensor]:
    """Inputs of the size of features, far from zero, and nearly constant."""
    return [torch.randn(shape), 30 * torch.randn(shape), 1e-3 * torch.randn(shape) + 1]


def tokens(n: int, dim: int, radius: float) -> Tensor:
    x = torch.randn(1, n, dim)
    return radius * x / x.norm(dim=-1, keepdim=True)
