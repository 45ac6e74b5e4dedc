"""Check the sensitivity of the trained network: Definition 6, Theorem 2.6 and Eq. 30."""

import math
from collections.abc import Mapping

import torch

from crossmodalnet.networks.crossmodalnet.config import Similarity
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet
from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.network_bounds import cumulative_bounds, paper_bound
from crossmodalnet.theory.part_bounds import log
from crossmodalnet.theory.sensitivity import (
    Growth,
    cross_growth,
    deepest_attentions,
    growth_factor,
    own_inputs,
    power_iteration,
    self_growth,
)
from crossmodalnet.theory.statements import STATEMENTS
from crossmodalnet.theory.subject import AuditSubject

KEYS = ("definition_6", "equation_30", "theorem_2_6")
NUM_CASES = 2  # each direction costs two forward passes and a backward pass
POWER_ITERATIONS = 6
_STEP = 0.02  # l2 norm over both images: far below the image, far above the rounding of logits
_TOLERANCE = 1e-3
_MAX_GROWTH = 10.0


def check(subject: AuditSubject, config: AuditConfig) -> CheckOutcome:
    """Bound the trained network's sensitivity from above and below; test attention for unbounded growth."""
    network = subject.network
    if not isinstance(network, CrossModalNet):
        why = "Only the parts of CrossModalNet have known constants."
        return CheckOutcome([not_applicable(key, why) for key in KEYS])
    bounds = cumulative_bounds(network, subject.token_size)
    ratios = _ratios(subject, config.seed)
    log10_bound, log10_ratio = bounds[-1][1], log(max(float(row["ratio"]) for row in ratios)) / math.log(10)
    tables: dict[str, list[Row]] = {
        "sensitivity_bounds": [{"part": part, "log10_bound": value} for part, value in bounds],
        "power_iteration": ratios,
    }
    image = subject.images(subject.test[:1])
    growths: dict[str, Growth] = {}
    cross, own = deepest_attentions(network)
    if cross is not None:
        f_a, f_b = own_inputs(network, cross, image)
        growth = cross_growth(cross, f_a, f_b, config.seed)
        growths["cross attention"] = growth
        tables["attention_growth"] = [{"scale": scale, "sensitivity": value} for scale, value in growth]
        paper = paper_bound(network, subject.token_size)
        example = two_identical_streams(round(paper["depth"]))
        findings = [
            judge_definition_6(growth, cross.similarity),
            judge_equation_30(paper, log10_bound, log10_ratio, example),
        ]
    else:
        findings = [not_applicable(key, "This network has no cross attention.") for key in KEYS[:2]]
    if own is not None:
        (f,) = own_inputs(network, own, image)
        growths["self-attention"] = self_growth(own, f, config.seed)
    missing_token = len(network.missing) > 0
    findings.append(judge_theorem_2_6(log10_bound, log10_ratio, growths, missing_token=missing_token))
    return CheckOutcome(findings, tables)


def two_identical_streams(depth: int) -> tuple[float, float]:
    """Compute the true constant, and Eq. 30's, of `depth` layers `F_a, F_b = F_a + F_b, F_b + F_a`."""
    layer = torch.ones(2, 2, dtype=torch.float64)
    true = torch.linalg.matrix_norm(torch.linalg.matrix_power(layer, depth), 2)
    return float(true), float(torch.linalg.matrix_norm(layer[:1], 2)) ** depth


def _ratios(subject: AuditSubject, seed: int) -> list[Row]:
    """Search for the direction of largest output change around test pairs."""
    rows: list[Row] = []
    for case in subject.test[:NUM_CASES]:
        # Convolutions in TF32 would round as much as the step changes.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            stretches = power_iteration(
                subject.network,
                subject.images([case]),
                iterations=POWER_ITERATIONS,
                step=_STEP,
                generator=torch.Generator().manual_seed(seed),
                tolerance=_TOLERANCE,
            )
            for i, ratio in enumerate(stretches, 1):
                rows.append({"case": case.name, "iteration": float(i), "ratio": ratio})
    return rows


def judge_definition_6(growth: Growth, similarity: Similarity) -> StatementFinding:
    """Judge Definition 6 by the growth of the cross attention's sensitivity, see `cross_growth`."""
    (_, first), (x, y), (last_scale, last) = growth[0], growth[-2], growth[-1]
    factor = growth_factor(growth)
    numbers = {"sensitivity_first": first, "sensitivity_last": last, "growth": factor}
    if factor <= _MAX_GROWTH:
        why = f"The cross attention's sensitivity stays within {factor:.2g} times its first value of {first:.3g}."
        return StatementFinding("definition_6", Verdict.HOLDS, why, numbers)
    breaks = "Theorem 2.6 takes the cross attention to be Lipschitz in its inputs"
    if similarity == "dot":
        change = f"when its inputs grow {last_scale:,.0f}-fold"
        reason = "the inputs stay within a bound"
        breaks += " without bounding them; the softmax is, but its scores are products of two inputs."
        example = "One query is zero, so that it weighs all keys alike, and all other tokens grow "
        example += f"{last_scale:,.0f}-fold"
    else:
        change = f"when one key shrinks to {last_scale:g} of its size"
        reason = "keys and queries stay away from zero, where their direction is lost"
        breaks += "; the division by their norm is not."
        example = f"One key token shrinks to {last_scale:g} of its size"
    numbers["exponent"] = (log(last) - log(y)) / math.log(last_scale / x)  # of the factor, between the last two
    why = (
        f"The sensitivity of the trained cross attention rises from {first:.3g} to {last:.3g} {change}, so one "
        f"constant bounds it only as long as {reason}."
    )
    example += f": the sensitivity goes from {first:.3g} to {last:.3g}, "
    example += f"like the factor to the power of {numbers['exponent']:.2f}."
    return StatementFinding("definition_6", Verdict.CONDITIONAL, why, numbers, breaks, example)


def judge_equation_30(
    paper: Mapping[str, float], log10_bound: float, log10_ratio: float, example: tuple[float, float]
) -> StatementFinding:
    """Judge whether Eq. 30 (`paper_bound`) bounds `two_identical_streams` and the trained network."""
    (true, claimed), formula, depth = example, paper["formula"], f"{paper['depth']:.0f}"
    between = formula - log10_ratio
    numbers = {
        "log10_formula": formula,
        "log10_bound": log10_bound,
        "log10_largest_ratio": log10_ratio,
        "orders_between": between,
        "example_constant": true,
        "example_formula": claimed,
    }
    trained = (
        f"or the trained network the formula gives 10^{formula:.0f} where the largest ratio found is "
        f"{10**log10_ratio:.3g}: {abs(between):.0f} orders of magnitude {'more' if between >= 0 else 'less'}."
    )
    exceeded = log10_ratio > formula
    if not exceeded and true <= claimed * (1 + 1e-6):
        return StatementFinding("equation_30", Verdict.HOLDS, f"F{trained}", numbers)
    why = (
        f"Two identical streams of {depth} layers have the constant {true:.3g} where the formula allows "
        f"{claimed:.3g}; f{trained}"
    )
    breaks = (
        "'The constant of a parallel combination is the maximum' needs branches with inputs of their own: a "
        "copy to both streams and a sum of them cost sqrt(2) each. The embedding, merging, skip connections, head and "
        f"residual sums are left out too; with them the bound is 10^{log10_bound:.0f}."
    )
    counterexample = (
        f"F_a = F_a + F_b and F_b = F_b + F_a, {depth} times over: each block has the "
        f"constant sqrt(2), so that Eq. 30 gives {claimed:.3g}, while the network's is {true:.3g}."
    )
    if exceeded:
        counterexample += f" The trained network itself reaches {10**log10_ratio:.3g}."
    verdict = Verdict.FAILS if exceeded else Verdict.CONDITIONAL
    return StatementFinding("equation_30", verdict, why, numbers, breaks, counterexample)


def judge_theorem_2_6(
    log10_bound: float, log10_ratio: float, growths: Mapping[str, Growth], *, missing_token: bool = False
) -> StatementFinding:
    """Judge whether the network has a Lipschitz constant, from the growth of its attentions by name.

    With a missing-image token the bound holds only between inputs that lack the same images.
    """
    key = "theorem_2_6"
    factors = {name: growth_factor(growth) for name, growth in growths.items()}
    factor, ratio = max(factors.values(), default=1.0), f"{10**log10_ratio:.3g}"
    numbers = {"log10_bound": log10_bound, "log10_largest_ratio": log10_ratio, "attention_growth": factor}
    if log10_ratio > log10_bound:
        why = f"A change of the images was multiplied by {ratio}, above the bound {10**log10_bound:.3g}."
        breaks = "The constants of the components do not bound the network."
        example = f"The direction found by power iteration, stretched {ratio} times."
        return StatementFinding(key, Verdict.FAILS, why, numbers, breaks, example)
    why = f"By its weights no change of the images is multiplied by more than 10^{log10_bound:.0f}, for all images"
    why += " as long as none goes missing" * missing_token
    if factor <= _MAX_GROWTH:
        each = "Each attention has a constant by itself." if factors else "There is no attention in this network."
        why += f"; the most that was found is {ratio}. {each}"
        return StatementFinding(key, Verdict.HOLDS, why, numbers)
    name = max(factors, key=factors.__getitem__)
    (_, first), (scale, last) = growths[name][0], growths[name][-1]
    why += (
        f", and the most that was found is {ratio}; but only because layer norm bounds what attention "
        f"sees: without that, the {name} becomes {factor:.2g} times as sensitive."
    )
    example = (
        f"The trained {name} on its own inputs, up to the factor {scale:g}: its sensitivity goes from "
        f"{first:.3g} to {last:.3g}."
    )
    return StatementFinding(key, Verdict.CONDITIONAL, why, numbers, STATEMENTS[key].breaks, example)
