"""Check Definition 2 (Eq. 4) and Theorem 2.1 (three properties) of cross attention."""

import copy
import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention, cross_attention
from crossmodalnet.networks.crossmodalnet.config import Similarity, Values
from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, judge_equation, not_applicable
from crossmodalnet.theory.statements import STATEMENTS
from crossmodalnet.theory.subject import AuditSubject, capture_inputs, isolated_seed, relative_deviation

KEYS = ("definition_2", "theorem_2_1_1", "theorem_2_1_2", "theorem_2_1_3")
VALUES: tuple[Values, ...] = ("b", "a")
SIMILARITIES: tuple[Similarity, ...] = ("dot", "cosine")
MAX_WINDOWS = 16  # per level, spread evenly over the map
SCALES = (0.5, 2.0, 3.0)
RANDOM_TOKENS, RANDOM_CHANNELS, RANDOM_HEADS = 64, 24, 2
EQUATION_TOLERANCE = 1e-4
PROPERTY_TOLERANCE = 1e-5
ASYMMETRY = 1e-3


def check(subject: AuditSubject, config: AuditConfig) -> CheckOutcome:
    """Check Definition 2 and Theorem 2.1 on the trained attentions, and on random ones of every kind."""
    if not subject.crosses:
        return CheckOutcome([not_applicable(key, "This network has no cross attention.") for key in KEYS])
    captured = capture_inputs(subject.network, subject.images(subject.test[:1]), CrossAttention)
    parts = {name: _in_double(module, *inputs[:2]) for name, (module, inputs) in captured.items()}
    rows: list[Row] = []
    for name, part in parts.items():
        rows += property_rows("trained", name, *part, config.seed)
    deviations = {
        kind: [float(row["deviation"]) for row in rows if row["property"] == kind]
        for kind in ("asymmetry", "scaling", "permutation")
    }
    for values, similarity in product(VALUES, SIMILARITIES):
        with isolated_seed(config.seed):
            module = CrossAttention(RANDOM_CHANNELS, RANDOM_HEADS, values=values, similarity=similarity)
            f_a, f_b = torch.randn(2, 1, RANDOM_TOKENS, RANDOM_CHANNELS, dtype=torch.float64)
        module = module.double().requires_grad_(False)
        rows += property_rows("random", "random", module, f_a, f_b, config.seed)
    deviation = max(relative_deviation(module(a, b), equation_4(module, a, b)) for module, a, b in parts.values())
    windowed = max(_over_windows(*part, config.seed) for part in parts.values())
    first, what = next(iter(parts.values()))[0], "The trained network's cross attentions"
    options = [f"values: {first.values}"] * (first.values != "b")
    options += [f"similarity: {first.similarity}"] * (first.similarity != "dot")
    findings = [
        judge_equation("definition_2", what, "Eq. 4", deviation, EQUATION_TOLERANCE, options),
        judge_asymmetry(deviations["asymmetry"]),
        judge_scaling(deviations["scaling"]),
        judge_permutation(deviations["permutation"], windowed),
    ]
    return CheckOutcome(findings, {"attention_properties": rows})


def equation_4(module: CrossAttention, f_a: Tensor, f_b: Tensor) -> Tensor:
    """Compute Eq. 4 of `(b, n, c)` as printed, `Softmax(Q_b K_a^T / sqrt(d)) V_b`, head by head."""
    heads = []
    for rows in torch.arange(module.query.out_features).chunk(module.num_heads):
        q, k = f_b @ module.query.weight[rows].T, f_a @ module.key.weight[rows].T
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(len(rows)), dim=-1)
        heads.append(weights @ (f_b @ module.value.weight[rows].T))
    return torch.cat(heads, dim=-1)


def property_rows(network: str, layer: str, module: CrossAttention, f_a: Tensor, f_b: Tensor, seed: int) -> list[Row]:
    """Measure the three properties of one attention; rows of table `attention_properties`."""
    out = module(f_a, f_b)
    order = torch.randperm(f_a.shape[1], generator=torch.Generator().manual_seed(seed)).to(f_a.device)
    deviations = {
        "asymmetry": relative_deviation(module(f_b, f_a), out),
        "scaling": max(relative_deviation(module(c * f_a, c * f_b), c * out) for c in SCALES),
        "permutation": relative_deviation(module(f_a[:, order], f_b[:, order]), out[:, order]),
    }
    kind = {"network": network, "values": module.values, "similarity": module.similarity}
    return [{**kind, "property": name, "layer": layer, "deviation": d} for name, d in deviations.items()]


def judge_asymmetry(differences: Sequence[float]) -> StatementFinding:
    """Judge Theorem 2.1.1 by the relative differences between the two orders of the streams."""
    key, smallest = "theorem_2_1_1", min(differences)
    numbers = {"smallest_difference": smallest}
    if smallest > ASYMMETRY:
        why = (
            f"Swapping CT and MR changes the result by at least {smallest:.0%} of its size in every attention of "
            "the trained network. Only equal features of both images would be an exception."
        )
        return StatementFinding(key, Verdict.HOLDS, why, numbers)
    why = f"An attention of the trained network gives the same result for both orders, to {smallest:.1e}."
    example = f"The trained network's own features give a relative difference of {smallest:.1e}."
    return StatementFinding(key, Verdict.FAILS, why, numbers, STATEMENTS[key].breaks, example)


def judge_scaling(deviations: Sequence[float]) -> StatementFinding:
    """Judge Theorem 2.1.2 by the relative deviations from proportionality."""
    key, largest = "theorem_2_1_2", max(deviations)
    numbers = {"largest_deviation": largest}
    if largest <= PROPERTY_TOLERANCE:
        why = f"Scaled features give the scaled result, to {largest:.1e}: cosine similarity ignores their strength."
        return StatementFinding(key, Verdict.HOLDS, why, numbers)
    why = (
        f"Scaling the trained network's features misses proportionality by up to {largest:.0%}: stronger features "
        "make attention sharper, not only larger."
    )
    # The second token's attention for F_a = F_b = (0, c), one channel, all projections 1.
    pairs = [torch.tensor([[[[0.0], [c]]]], dtype=torch.float64) for c in (1.0, 2.0)]
    once, twice = (float(cross_attention(f, f, f)[0, 0, 1, 0]) for f in pairs)
    example = (
        f"Two tokens with one feature, F_a = F_b = (0, 1), all projections 1: the second token gets {once:.3f}; "
        f"with doubled features it gets {twice:.3f}, not {2 * once:.3f}."
    )
    return StatementFinding(key, Verdict.FAILS, why, numbers, STATEMENTS[key].breaks, example)


def judge_permutation(deviations: Sequence[float], windowed: float) -> StatementFinding:
    """Judge Theorem 2.1.3 by permutations within windows; `windowed`, across windows, is only reported."""
    key, largest = "theorem_2_1_3", max(deviations)
    numbers = {"largest_deviation": largest, "across_windows": windowed}
    if largest <= PROPERTY_TOLERANCE:
        why = f"The same reordering of both streams reorders the result, to {largest:.1e}"
        if windowed > 1e-3:
            why += f"; not across windows, where the blocks keep tokens apart ({windowed:.0%})"
        return StatementFinding(key, Verdict.HOLDS, why + ".", numbers)
    why = f"The same reordering of both streams changes the result by up to {largest:.1e} of its size."
    example = f"A random permutation of the trained network's own tokens: relative deviation {largest:.3g}."
    return StatementFinding(key, Verdict.FAILS, why, numbers, STATEMENTS[key].breaks, example)


def _in_double(module: CrossAttention, f_a: Tensor, f_b: Tensor) -> tuple[CrossAttention, Tensor, Tensor]:
    """Copy an attention and some of its windows in double precision, so that rounding is negligible."""
    chosen = torch.linspace(0, len(f_a) - 1, min(len(f_a), MAX_WINDOWS)).round().long().to(f_a.device)
    return copy.deepcopy(module).double().requires_grad_(False), f_a[chosen].double(), f_b[chosen].double()


def _over_windows(module: CrossAttention, f_a: Tensor, f_b: Tensor, seed: int) -> float:
    """Permute all tokens of all windows together, as a permutation of the whole map does."""
    w, n, c = f_a.shape
    order = torch.randperm(w * n, generator=torch.Generator().manual_seed(seed)).to(f_a.device)
    mixed_a, mixed_b = (f.reshape(w * n, c)[order].view(w, n, c) for f in (f_a, f_b))
    expected = module(f_a, f_b).reshape(w * n, c)[order].view(w, n, c)
    return relative_deviation(module(mixed_a, mixed_b), expected)
