"""Measure and judge the information flow between CT and MR: Definition 7, Theorems 2.4 and 2.7."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.theory.config import AuditConfig
from crossmodalnet.theory.entropy_bound import entropy_bound, judge_corollary_1
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.information import (
    NEIGHBOURS,
    JackknifeEstimate,
    copula_information,
    knn_information,
    leave_one_out,
)
from crossmodalnet.theory.statements import STATEMENTS
from crossmodalnet.theory.subject import AuditSubject
from crossmodalnet.theory.tokens import LayerTokens, Tokens, pooled, sample_tokens, shuffled_pairs

Estimates = Mapping[str, JackknifeEstimate]  # at each layer, by estimator
Estimator = Callable[[Tokens, Tokens], float]

KEYS = ("definition_7", "theorem_2_4", "theorem_2_7", "corollary_1")
ESTIMATORS: Mapping[str, Estimator] = {"copula": copula_information, "knn": knn_information}
TOLERANCE = 1e-9  # rounding of the sum of all flows
NO_INTERVAL = "With a single test pair there is no interval, so nothing can be said with confidence."


def check(subject: AuditSubject, config: AuditConfig) -> CheckOutcome:
    """Check the paper's statements on the information that CT and MR features share, layer by layer."""
    if subject.config is None or not subject.crosses:
        why = "No two streams attend to each other in this network."
        return CheckOutcome([not_applicable(key, why) for key in KEYS])
    images = subject.images(subject.test)
    registered = sample_tokens(subject.network, subject.config, images, config)
    samples = max(len(images) - 1, 1) * _fewest(registered)
    if samples <= max(4 * config.components, NEIGHBOURS):
        why = f"The deepest layer has {samples} tokens to estimate from, too few for {config.components} components."
        return CheckOutcome([StatementFinding(key, Verdict.UNDECIDED, why) for key in KEYS])
    trained = measure(registered)
    untrained = measure(sample_tokens(subject.initial, subject.config, images, config))
    measured = {("trained", "registered"): trained, ("initial", "registered"): untrained}
    if len(images) > 1:
        mixed = shuffled_pairs(images)
        for state, network in (("trained", subject.network), ("initial", subject.initial)):
            measured[state, "shuffled"] = measure(sample_tokens(network, subject.config, mixed, config))
    bounds = {name: entropy_bound(pooled(ct), pooled(mr)) for name, (ct, mr) in registered.items()}
    permuted = max(_permuted(pooled(ct), pooled(mr), config.seed) for ct, mr in registered.values())
    names = tuple(registered)
    findings = [
        judge_definition_7(trained, measured.get(("trained", "shuffled")), permuted),
        of_either(judge_theorem_2_4(trained, names), judge_theorem_2_4(untrained, names, "untrained")),
        of_either(judge_theorem_2_7(trained, names), judge_theorem_2_7(untrained, names, "untrained")),
        judge_corollary_1(bounds),
    ]
    information: list[Row] = []
    flow: list[Row] = []
    for (state, pairs), estimates in measured.items():
        information += _rows({"state": state, "pairs": pairs}, "information", estimates, names, 0)
        if pairs == "registered":
            flow += _rows({"state": state}, "cmif", _changed(estimates), names[1:], 1)
    columns = ("information", "entropy_ct", "entropy_mr")
    entropy: list[Row] = [
        {"layer": layer, "name": name, **{column: item[column] for column in columns}}
        for layer, (name, item) in enumerate(bounds.items())
    ]
    return CheckOutcome(findings, {"information": information, "flow": flow, "entropy": entropy})


def measure(layers: LayerTokens) -> Estimates:
    """Estimate the mutual information of every layer, from all cases and without each of them.

    Estimates depend on the sample size, so every layer is cut into groups as small as the smallest layer and averaged.
    """
    size = _fewest(layers)
    num_cases = len(next(iter(layers.values()))[0])
    estimates = {}
    for name, estimate in ESTIMATORS.items():

        def over_layers(cases: list[int], estimate: Estimator = estimate) -> Tokens:
            return np.array([_over_groups(*layer, cases, size, estimate) for layer in layers.values()])

        estimates[name] = leave_one_out(over_layers, num_cases)
    return estimates


def _over_groups(ct: Tokens, mr: Tokens, cases: list[int], size: int, estimate: Estimator) -> float:
    """Average the estimates over groups of `size` tokens per case."""
    groups = [slice(first, first + size) for first in range(0, ct.shape[1] - size + 1, size)]
    return float(np.mean([estimate(pooled(ct[cases, group]), pooled(mr[cases, group])) for group in groups]))


def _fewest(layers: LayerTokens) -> int:
    """Count the tokens per case of the smallest layer."""
    return min(len(ct[0]) for ct, _ in layers.values())


def _permuted(ct: Tokens, mr: Tokens, seed: int) -> float:
    """Estimate the information between MR tokens and randomly permuted CT tokens (truth: 0)."""
    mr = mr[np.random.default_rng(seed).permutation(len(mr))]
    return max(estimate(ct, mr) for estimate in ESTIMATORS.values())


def _rows(kind: Row, column: str, estimates: Estimates, names: Sequence[str], first_layer: int) -> list[Row]:
    return [
        {
            **kind,
            "layer": layer + first_layer,
            "name": name,
            "estimator": estimator,
            column: float(values.pooled[layer]),
            "low": float(values.interval[0][layer]),
            "high": float(values.interval[1][layer]),
        }
        for estimator, values in estimates.items()
        for layer, name in enumerate(names)
    ]


def judge_definition_7(registered: Estimates, shuffled: Estimates | None, permuted: float) -> StatementFinding:
    """Judge whether registered images share more than shuffled or permuted ones, and whether flows add up."""
    deviation = max(
        float(abs(item.change.pooled.sum() - (item.pooled[-1] - item.pooled[0]))) for item in registered.values()
    )
    numbers = {f"information_image_{key}": float(item.pooled[0]) for key, item in registered.items()}
    numbers |= {"flow_sum_deviation": deviation, "information_permuted": permuted}
    if shuffled is None:
        return StatementFinding("definition_7", Verdict.UNDECIDED, NO_INTERVAL, numbers)
    excess = {key: item.minus(shuffled[key]) for key, item in registered.items()}
    numbers |= {f"excess_image_low_{key}": float(item.interval[0][0]) for key, item in excess.items()}
    clear = all(bool(item.above()[0]) for item in excess.values())
    why = (
        f"Registered CT and MR images share {_levels(registered, 0)} nats per token, those of different subjects "
        f"{_levels(shuffled, 0)}: {'clearly' if clear else 'not clearly'} less, by {_with_intervals(excess, 0)}; "
        f"tokens in random order share {permuted:.3f} at most."
    )
    holds = clear and deviation <= TOLERANCE
    return StatementFinding("definition_7", Verdict.HOLDS if holds else Verdict.UNDECIDED, why, numbers)


def judge_theorem_2_4(registered: Estimates, names: Sequence[str], network: str = "trained") -> StatementFinding:
    """Judge whether shared information falls at no layer; `network` names the network in the text."""
    key, flows = "theorem_2_4", _changed(registered)
    lost = _agreed(flows)
    numbers = {f"smallest_cmif_{key}": float(flow.pooled.min()) for key, flow in flows.items()}
    numbers |= {f"information_image_{key}": float(item.pooled[0]) for key, item in registered.items()}
    numbers["layers_that_lose"] = float(lost.sum())
    if not lost.any():
        return _not_falling(key, flows, numbers, "shared information falls from layer to layer")
    worst = _worst(flows, lost)
    step = f"from {names[worst]} to {names[worst + 1]}"
    why = (
        f"By both estimators the shared information falls {step}: it changes by {_with_intervals(flows, worst)} nats "
        f"per token. It falls at {int(lost.sum())} of {len(lost)} layers."
    )
    example = (
        f"The {network} network {step}: {_levels(registered, worst)} nats per token become "
        f"{_levels(registered, worst + 1)}. {_base_case(registered)}"
    )
    return StatementFinding(key, Verdict.FAILS, why, numbers, STATEMENTS[key].breaks, example)


def judge_theorem_2_7(registered: Estimates, names: Sequence[str], network: str = "trained") -> StatementFinding:
    """Judge whether every layer adds information, and each more than the one before."""
    key, flows = "theorem_2_7", _changed(registered)
    growths = _changed(flows)
    lost, slower = _agreed(flows), _agreed(growths)
    numbers = {f"smallest_cmif_{key}": float(flow.pooled.min()) for key, flow in flows.items()}
    numbers |= {f"smallest_growth_{key}": float(item.pooled.min()) for key, item in growths.items()}
    numbers |= {"layers_that_lose": float(lost.sum()), "layers_that_add_less": float(slower.sum())}
    if not lost.any() and not slower.any():
        both = flows | {f"{key} growth": item for key, item in growths.items()}
        return _not_falling(key, both, numbers, "flow is negative or falls")
    worst = _worst(growths, slower) if slower.any() else max(_worst(flows, lost) - 1, 0)
    before, after = names[worst + 1], names[worst + 2]
    why = (
        f"By both estimators, {int(lost.sum())} of {len(lost)} layers add less than nothing and "
        f"{int(slower.sum())} of {len(slower)} less than the one before: {before} adds "
        f"{_with_intervals(flows, worst)} nats per token, {after} {_with_intervals(flows, worst + 1)}."
    )
    example = (
        f"Flow of the {network} network into {before}: {_levels(flows, worst)} nats per token; into "
        f"{after}: {_levels(flows, worst + 1)}. {_base_case(registered)}"
    )
    return StatementFinding(key, Verdict.FAILS, why, numbers, STATEMENTS[key].breaks, example)


def of_either(trained: StatementFinding, initial: StatementFinding) -> StatementFinding:
    """Choose the trained network's finding, or the untrained one's if only it refutes the claim for all weights."""
    numbers = {**trained.numbers, "layers_that_lose_before_training": initial.numbers["layers_that_lose"]}
    if trained.verdict is Verdict.FAILS or initial.verdict is not Verdict.FAILS:
        return replace(trained, numbers=numbers)
    return replace(initial, numbers=numbers, why=f"Before training. {initial.why}")


def _not_falling(key: str, changes: Estimates, numbers: Mapping[str, float], what: str) -> StatementFinding:
    """Judge where no fall is certain by both estimators: it holds if no estimate falls either."""
    if not all(item.certain for item in changes.values()):
        return StatementFinding(key, Verdict.UNDECIDED, NO_INTERVAL, numbers)
    smallest = min(float(item.pooled.min()) for item in changes.values())
    if smallest >= 0:
        return StatementFinding(key, Verdict.HOLDS, f"By no estimate it is so that {what}.", numbers)
    why = f"Not both estimators say with confidence that {what}; the smallest difference is {smallest:.3f} nats."
    return StatementFinding(key, Verdict.UNDECIDED, why, numbers)


def _changed(estimates: Estimates) -> dict[str, JackknifeEstimate]:
    return {key: item.change for key, item in estimates.items()}


def _agreed(changes: Estimates) -> NDArray[np.bool_]:
    """Mark where all estimators find a change below 0 with confidence."""
    return np.all([item.below() for item in changes.values()], axis=0)


def _worst(changes: Estimates, among: NDArray[np.bool_]) -> int:
    """Find the index of the largest fall by all estimators."""
    least = np.max([item.pooled for item in changes.values()], axis=0)
    return int(np.argmin(np.where(among, least, np.inf)))


def _levels(estimates: Estimates, layer: int) -> str:
    """Format values of a layer, `1.20 (copula) and 1.10 (knn)`."""
    return " and ".join(f"{item.pooled[layer]:.2f} ({key})" for key, item in estimates.items())


def _with_intervals(changes: Estimates, layer: int) -> str:
    """Format values of a layer with their intervals."""
    return " and ".join(
        f"{item.pooled[layer]:.2f} [{item.interval[0][layer]:.2f}, {item.interval[1][layer]:.2f}] ({key})"
        for key, item in changes.items()
    )


def _base_case(registered: Estimates) -> str:
    return f"And the images themselves share {_levels(registered, 0)}, not 0 as both proofs begin with."
