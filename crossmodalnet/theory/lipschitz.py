"""How sensitive the network can be: Definition 6, Theorem 2.6 and Eq. 30, measured on the trained network."""

import math

import torch
from torch import Tensor, nn

from crossmodalnet.networks.crossmodalnet.network import CrossModalNet, DualLayer
from crossmodalnet.theory.attention_growth import (
    Growth,
    cross_growth,
    deepest_cross,
    deepest_self,
    own_inputs,
    self_growth,
)
from crossmodalnet.theory.bound_network import cumulative_bounds, paper_bound
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, not_applicable
from crossmodalnet.theory.lipschitz_bounds import log
from crossmodalnet.theory.lipschitz_verdicts import judge_definition_6, judge_equation_30, judge_theorem_2_6
from crossmodalnet.theory.sensitivity import power_iteration
from crossmodalnet.theory.settings import AuditSettings
from crossmodalnet.theory.subject import AuditSubject

_MOST_CASES = 2  # each direction costs two forward passes and a backward pass
_STEP = 0.02  # l2 norm over both images: far below the image, far above the rounding of logits
_TOLERANCE = 1e-3
_ONE_STREAM = "This network has no cross attention."


def check(subject: AuditSubject, settings: AuditSettings) -> CheckOutcome:
    """Bound the trained network's sensitivity from above and below, and find where attention has none."""
    network = subject.network
    if not isinstance(network, CrossModalNet):
        why = "Only the parts of CrossModalNet have known constants."
        return CheckOutcome(
            [not_applicable(key, why) for key in ("definition_6", "equation_30", "theorem_2_6")]
        )
    bounds = cumulative_bounds(network, subject.patch_size)
    ratios = _ratios(subject, settings)
    log10_bound, log10_ratio = bounds[-1][1], log(max(float(row["ratio"]) for row in ratios)) / math.log(10)
    image = subject.images(subject.test[:1])
    growths = _self_growth(network, image, settings.seed)
    tables: dict[str, list[Row]] = {
        "sensitivity_bounds": [{"part": part, "log10_bound": value} for part, value in bounds],
        "power_iteration": ratios,
    }
    missing_token = len(network.missing) > 0
    if not subject.crosses:
        findings = [not_applicable(key, _ONE_STREAM) for key in ("definition_6", "equation_30")]
        findings.append(judge_theorem_2_6(log10_bound, log10_ratio, growths, missing_token=missing_token))
        return CheckOutcome(findings, tables)
    growth = _cross_growth(network, image, settings.seed)
    tables["attention_growth"] = [{"scale": scale, "sensitivity": value} for scale, value in growth]
    return CheckOutcome(
        [
            judge_definition_6(growth, deepest_cross(network).similarity),
            _equation_30(network, subject, log10_bound, log10_ratio),
            judge_theorem_2_6(
                log10_bound,
                log10_ratio,
                {"cross attention": growth, **growths},
                missing_token=missing_token,
            ),
        ],
        tables,
    )


class _Sum(nn.Module):
    """A block of two streams that adds them: of the form of Eq. 3, with constant sqrt(2)."""

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        return own + other


def two_identical_streams(depth: int) -> tuple[float, float]:
    """A network of which the constant is known: two streams of one number each, which every layer adds up.

    Args:
        depth: layers `F_a = F_a + F_b`, `F_b = F_b + F_a`.

    Returns:
        The network's Lipschitz constant, the largest singular value of its Jacobian; and Eq. 30 for it, in which the
        constant of a block is that of the block by itself and other parts are the identity.
    """
    layer, block = DualLayer([nn.Identity(), nn.Identity()], [_Sum(), _Sum()]), _Sum()

    def through(x: Tensor) -> Tensor:
        a, b = x[:1], x[1:]
        for _ in range(depth):
            a, b = layer(a, b)
        return torch.cat([a, b])

    units = torch.eye(2, dtype=torch.float64)
    true = torch.stack([through(unit) for unit in units], dim=1)
    alone = torch.stack([block(unit[:1], unit[1:]) for unit in units], dim=1)
    return float(torch.linalg.matrix_norm(true, 2)), float(torch.linalg.matrix_norm(alone, 2)) ** depth


def _equation_30(
    network: CrossModalNet, subject: AuditSubject, log10_bound: float, log10_ratio: float
) -> StatementFinding:
    paper = paper_bound(network, subject.patch_size)
    depth = round(paper["depth"])
    return judge_equation_30(paper, log10_bound, log10_ratio, two_identical_streams(depth))


def _ratios(subject: AuditSubject, settings: AuditSettings) -> list[Row]:
    """Search for the direction of largest output change around test pairs."""
    rows: list[Row] = []
    for case in subject.test[: min(settings.num_cases, _MOST_CASES)]:
        # Convolutions in TF32 would round as much as the step changes.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            stretches = power_iteration(
                subject.network,
                subject.images([case]),
                iterations=settings.power_iterations,
                step=_STEP,
                generator=torch.Generator().manual_seed(settings.seed),
                tolerance=_TOLERANCE,
            )
            rows += [
                {"case": case.name, "iteration": float(i), "ratio": ratio}
                for i, ratio in enumerate(stretches, 1)
            ]
    return rows


def _cross_growth(network: CrossModalNet, image: Tensor, seed: int) -> Growth:
    attention = deepest_cross(network)
    f_a, f_b = own_inputs(network, attention, image)
    return cross_growth(attention, f_a, f_b, seed)


def _self_growth(network: CrossModalNet, image: Tensor, seed: int) -> dict[str, Growth]:
    """Give the growth of the deepest self-attention by its name; none where the network has no Swin block."""
    attention = deepest_self(network)
    if attention is None:
        return {}
    (f,) = own_inputs(network, attention, image)
    return {"self-attention": self_growth(attention, f, seed)}
