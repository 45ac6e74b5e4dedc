"""Definition 6, Theorem 2.6 and Eq. 30: how sensitive the trained network can be."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from crossmodalnet.networks.crossmodalnet.choices import Similarity
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet, DualLayer
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.network_bounds import cumulative_bounds, paper_bound
from crossmodalnet.theory.part_bounds import log
from crossmodalnet.theory.sensitivity import (
    Growth,
    cross_growth,
    deepest_cross,
    deepest_self,
    growth_factor,
    own_inputs,
    power_iteration,
    self_growth,
)
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


_MOST_GROWTH = 10.0


def judge_definition_6(growth: Growth, similarity: Similarity) -> StatementFinding:
    """Say whether one constant can bound the cross attention.

    Args:
        growth: growth of the attention's sensitivity, see `cross_growth`.
        similarity: similarity of queries and keys in the attention.
    """
    (_, first), (last_scale, last) = growth[0], growth[-1]
    factor = growth_factor(growth)
    numbers = {"sensitivity_first": first, "sensitivity_last": last, "growth": factor}
    if factor <= _MOST_GROWTH:
        why = f"The cross attention's sensitivity stays within {factor:.2g} times its first value of {first:.3g}."
        return StatementFinding("definition_6", Verdict.HOLDS, why, numbers)
    if similarity == "dot":
        change = f"when its inputs grow {last_scale:,.0f}-fold"
        reason = "the inputs stay within a bound"
        example = "One query is zero, so that it weighs all keys alike, and all other tokens grow "
        example += f"{last_scale:,.0f}-fold"
    else:
        change = f"when one key shrinks to {last_scale:g} of its size"
        reason = "keys and queries stay away from zero, where their direction is lost"
        example = f"One key token shrinks to {last_scale:g} of its size"
    return StatementFinding(
        "definition_6",
        Verdict.CONDITIONAL,
        f"The sensitivity of the trained cross attention rises from {first:.3g} to {last:.3g} {change}, so one "
        f"constant bounds it only as long as {reason}.",
        {**numbers, "exponent": _exponent(growth)},
        breaks="Theorem 2.6 takes the cross attention to be Lipschitz in its inputs without bounding them; the "
        "softmax is, but its scores are products of two inputs."
        if similarity == "dot"
        else "Theorem 2.6 takes the cross attention to be Lipschitz in its inputs; the division by their norm is not.",
        counterexample=f"{example}: the sensitivity goes from {first:.3g} to {last:.3g}, like the factor to the power "
        f"of {_exponent(growth):.2f}.",
    )


def judge_equation_30(
    paper: Mapping[str, float], log10_bound: float, log10_ratio: float, example: tuple[float, float]
) -> StatementFinding:
    """Say whether the paper's formula bounds a known example and the trained network.

    Args:
        paper: decimal logarithms of the formula and what it is made of, see `paper_bound`.
        log10_bound: base-10 logarithm of the bound that holds.
        log10_ratio: base-10 logarithm of the largest ratio of output change to input change found.
        example: the true constant of two identical streams, and the formula for them.
    """
    true, claimed = example
    formula = paper["formula"]
    between = formula - log10_ratio
    numbers = {
        "log10_formula": formula,
        "log10_bound": log10_bound,
        "log10_largest_ratio": log10_ratio,
        "orders_between": between,
        "example_constant": true,
        "example_formula": claimed,
    }
    found = (
        f"for the trained network the formula gives 10^{formula:.0f} where the largest ratio found is "
        f"{10**log10_ratio:.3g}: {abs(between):.0f} orders of magnitude {'more' if between >= 0 else 'less'}"
    )
    exceeded = log10_ratio > formula
    if not exceeded and true <= claimed * (1 + 1e-6):
        return StatementFinding("equation_30", Verdict.HOLDS, found[0].upper() + found[1:] + ".", numbers)
    why = f"Two identical streams of {paper['depth']:.0f} layers have the constant {true:.3g} where the formula allows "
    why += f"{claimed:.3g}"
    return StatementFinding(
        "equation_30",
        Verdict.FAILS if exceeded else Verdict.CONDITIONAL,
        f"{why}; {found}.",
        numbers,
        breaks="'The constant of a parallel combination is the maximum' needs branches with inputs of their own: a "
        "copy to both streams and a sum of them cost sqrt(2) each. The embedding, merging, skip connections, head and "
        f"residual sums are left out too; with them the bound is 10^{log10_bound:.0f}.",
        counterexample=f"F_a = F_a + F_b and F_b = F_b + F_a, {paper['depth']:.0f} times over: each block has the "
        f"constant sqrt(2), so that Eq. 30 gives {claimed:.3g}, while the network's is {true:.3g}."
        + (f" The trained network itself reaches {10**log10_ratio:.3g}." if exceeded else ""),
    )


def judge_theorem_2_6(
    log10_bound: float, log10_ratio: float, growths: Mapping[str, Growth], *, missing_token: bool = False
) -> StatementFinding:
    """Say whether the network has a Lipschitz constant, and what for.

    Args:
        log10_bound: decimal logarithm of the upper bound.
        log10_ratio: base-10 logarithm of the largest ratio of output change to input change found.
        growths: growths of the sensitivity of attentions by themselves, by the attention's name; none without any.
        missing_token: whether a missing image is replaced by a token, which is a jump: the bound is for images of
            which none, or the same, is missing.
    """
    factors = {name: growth_factor(growth) for name, growth in growths.items()}
    factor = max(factors.values(), default=1.0)
    numbers = {"log10_bound": log10_bound, "log10_largest_ratio": log10_ratio, "attention_growth": factor}
    bound = f"no change of the images is multiplied by more than 10^{log10_bound:.0f}, for all images"
    bound += " as long as none goes missing" * missing_token
    found = f"the most that was found is {10**log10_ratio:.3g}"
    if log10_ratio > log10_bound:
        return StatementFinding(
            "theorem_2_6",
            Verdict.FAILS,
            f"A change of the images was multiplied by {10**log10_ratio:.3g}, above the bound {10**log10_bound:.3g}.",
            numbers,
            breaks="The constants of the components do not bound the network.",
            counterexample=f"The direction found by power iteration, stretched {10**log10_ratio:.3g} times.",
        )
    if factor <= _MOST_GROWTH:
        why = f"By its weights {bound}; {found}. "
        why += (
            "Each attention has a constant by itself."
            if factors
            else "There is no attention in this network."
        )
        return StatementFinding("theorem_2_6", Verdict.HOLDS, why, numbers)
    name = max(factors, key=factors.__getitem__)
    (_, first), (scale, last) = growths[name][0], growths[name][-1]
    return StatementFinding(
        "theorem_2_6",
        Verdict.CONDITIONAL,
        f"By its weights {bound}, and {found}; but only because layer norm bounds what attention "
        f"sees: without that, the {name} becomes {factor:.2g} times as sensitive.",
        numbers,
        breaks="'The Cross Attention operation is Lipschitz continuous with respect to its inputs' is false without "
        "a bound on its inputs, and so is the same of the self-attention; the proof does not use the norm before it.",
        counterexample=f"The trained {name} on its own inputs, up to the factor {scale:g}: its sensitivity goes from "
        f"{first:.3g} to {last:.3g}.",
    )


def _exponent(growth: Growth) -> float:
    """Power of the factor with which the sensitivity grows between the last two."""
    (x, y), (x_last, y_last) = growth[-2:]
    return (log(y_last) - log(y)) / math.log(x_last / x)
