"""What the figures say about Definition 6, Theorem 2.6 and Eq. 30: verdicts by the rules of `STATEMENTS`."""

import math
from collections.abc import Mapping

from crossmodalnet.networks.crossmodalnet.config import Similarity
from crossmodalnet.theory.attention_growth import Growth, growth_factor
from crossmodalnet.theory.findings import StatementFinding, Verdict
from crossmodalnet.theory.lipschitz_bounds import log

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
