"""Information flow between CT and MR: Definition 7, Theorems 2.4 and 2.7, measured and judged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet
from crossmodalnet.theory.entropy_bound import EntropyBound, bound, judge_corollary_1
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.information import (
    JackknifeEstimate,
    copula_information,
    knn_information,
    leave_one_out,
)
from crossmodalnet.theory.settings import AuditSettings
from crossmodalnet.theory.subject import AuditSubject
from crossmodalnet.theory.tokens import LayerTokens, pooled, sample_tokens, shuffled_pairs

Estimator = Callable[[NDArray[np.float64], NDArray[np.float64]], float]

KEYS = ("definition_7", "theorem_2_4", "theorem_2_7", "corollary_1")


@dataclass(frozen=True)
class Information:
    """Mutual information over the layers of one network on one set of pairs.

    Attributes:
        state: state of the network, initial or trained.
        pairs: registered or shuffled.
        names: names of the layers.
        by_estimator: `(num_layers,)` each.
    """

    state: str
    pairs: str
    names: tuple[str, ...]
    by_estimator: Mapping[str, JackknifeEstimate]


def check(subject: AuditSubject, settings: AuditSettings) -> CheckOutcome:
    """Check what the paper says of the information that CT and MR features share, layer by layer."""
    if subject.config is None or not subject.crosses:
        why = "No two streams attend to each other in this network."
        return CheckOutcome([not_applicable(key, why) for key in KEYS])
    images = subject.images(subject.test[: settings.num_cases])
    registered = _tokens(subject.network, subject.config, images, settings)
    # Without a case, as the intervals need.
    samples = max(len(images) - 1, 1) * _fewest(registered)
    if samples <= max(4 * settings.components, settings.neighbours):
        why = f"The deepest layer has {samples} tokens to estimate from, too few for {settings.components} components."
        return CheckOutcome([StatementFinding(key, Verdict.UNDECIDED, why) for key in KEYS])
    trained = measure(registered, settings.neighbours, "trained", "registered")
    others = list(_others(subject, subject.config, images, settings))
    by_kind = {(item.state, item.pairs): item for item in others}
    shuffled, untrained = by_kind.get(("trained", "shuffled")), by_kind["initial", "registered"].by_estimator
    bounds = [bound(layer) for layer in registered]
    estimates = trained.by_estimator
    permuted = max(_permuted(layer, settings) for layer in registered)
    return CheckOutcome(
        [
            judge_definition_7(estimates, None if shuffled is None else shuffled.by_estimator, permuted),
            of_either(
                judge_theorem_2_4(estimates, trained.names),
                judge_theorem_2_4(untrained, trained.names, "untrained"),
            ),
            of_either(
                judge_theorem_2_7(estimates, trained.names),
                judge_theorem_2_7(untrained, trained.names, "untrained"),
            ),
            judge_corollary_1(bounds),
        ],
        {
            "information": [row for item in (trained, *others) for row in _information_rows(item)],
            "flow": [
                row for item in (trained, *others) if item.pairs == "registered" for row in _flow_rows(item)
            ],
            "entropy": _entropy_rows(bounds),
        },
    )


def measure(layers: Sequence[LayerTokens], neighbours: int, state: str, pairs: str) -> Information:
    """Estimate the mutual information of every layer, from all cases and without each of them.

    Estimates depend on the number of samples, counts of neighbours most. So every layer is measured with as many
    tokens as the layer with the fewest has: others are cut into groups of so many, whose mean is taken.
    """
    size = _fewest(layers)

    def over_layers(estimate: Estimator) -> JackknifeEstimate:
        return leave_one_out(
            lambda cases: np.array([_over_groups(layer, cases, size, estimate) for layer in layers]),
            len(layers[0].ct),
        )

    return Information(
        state,
        pairs,
        tuple(layer.name for layer in layers),
        {
            "copula": over_layers(copula_information),
            "knn": over_layers(partial(knn_information, neighbours=neighbours)),
        },
    )


def _others(
    subject: AuditSubject, config: CrossModalNetConfig, images: Tensor, settings: AuditSettings
) -> Iterator[Information]:
    """Measure what no verdict but that of Definition 7 rests on: before training, and shuffled pairs."""

    def one(network: nn.Module, state: str, pairs: str) -> Information:
        chosen = images if pairs == "registered" else shuffled_pairs(images)
        return measure(_tokens(network, config, chosen, settings), settings.neighbours, state, pairs)

    yield one(subject.initial, "initial", "registered")
    if len(images) > 1:
        yield one(subject.network, "trained", "shuffled")
        yield one(subject.initial, "initial", "shuffled")


def _tokens(
    network: nn.Module, config: CrossModalNetConfig, images: Tensor, settings: AuditSettings
) -> list[LayerTokens]:
    assert isinstance(network, CrossModalNet)
    return sample_tokens(
        network,
        config,
        images,
        components=settings.components,
        tokens_per_case=settings.tokens_per_case,
        seed=settings.seed,
    )


def _fewest(layers: Sequence[LayerTokens]) -> int:
    """Count the tokens of a case at the layer that has the fewest."""
    return min(len(layer.ct[0]) for layer in layers)


def _over_groups(layer: LayerTokens, cases: list[int], size: int, estimate: Estimator) -> float:
    groups = [slice(first, first + size) for first in range(0, layer.ct.shape[1] - size + 1, size)]
    return float(np.mean([estimate(pooled(layer.ct[cases, g]), pooled(layer.mr[cases, g])) for g in groups]))


def _permuted(layer: LayerTokens, settings: AuditSettings) -> float:
    """Information left when each MR token meets a random CT token: none, whatever the larger estimate says."""
    ct, mr = pooled(layer.ct), pooled(layer.mr)
    mr = mr[np.random.default_rng(settings.seed).permutation(len(mr))]
    return max(copula_information(ct, mr), knn_information(ct, mr, settings.neighbours))


def _information_rows(item: Information) -> list[Row]:
    return [
        {
            "state": item.state,
            "pairs": item.pairs,
            "layer": layer,
            "name": name,
            "estimator": estimator,
            "information": float(values.pooled[layer]),
            "low": float(values.interval[0][layer]),
            "high": float(values.interval[1][layer]),
        }
        for estimator, values in item.by_estimator.items()
        for layer, name in enumerate(item.names)
    ]


def _flow_rows(item: Information) -> list[Row]:
    flows = {estimator: values.change for estimator, values in item.by_estimator.items()}
    return [
        {
            "state": item.state,
            "layer": layer,
            "name": name,
            "estimator": estimator,
            "cmif": float(flow.pooled[layer - 1]),
            "low": float(flow.interval[0][layer - 1]),
            "high": float(flow.interval[1][layer - 1]),
        }
        for estimator, flow in flows.items()
        for layer, name in enumerate(item.names)
        if layer
    ]


def _entropy_rows(bounds: Sequence[EntropyBound]) -> list[Row]:
    return [
        {
            "layer": layer,
            "name": item.name,
            "information": item.information,
            "entropy_ct": item.entropy_ct,
            "entropy_mr": item.entropy_mr,
        }
        for layer, item in enumerate(bounds)
    ]


Estimates = Mapping[str, JackknifeEstimate]

# Rounding of the sum of all flows.
TOLERANCE = 1e-9
NO_INTERVAL = "With a single test pair there is no interval, so nothing can be said with confidence."
DEPENDENT = "The base case is false too: CT and MR of a registered pair are not independent."


def judge_definition_7(
    registered: Estimates, shuffled: Estimates | None, permuted: float
) -> StatementFinding:
    """Judge whether what is measured is information between registered images, and adds up.

    Args:
        registered: information at each layer, by estimator.
        shuffled: information for pairs of different subjects, from as many cases; None where there is one case.
        permuted: largest information found between tokens in random order, which have none.
    """
    deviation = max(_sum_deviation(item) for item in registered.values())
    numbers = {f"information_image_{key}": float(item.pooled[0]) for key, item in registered.items()}
    numbers |= {"flow_sum_deviation": deviation, "information_permuted": permuted}
    if shuffled is None:
        return StatementFinding("definition_7", Verdict.UNDECIDED, NO_INTERVAL, numbers)
    excess = {key: item.minus(shuffled[key]) for key, item in registered.items()}
    numbers |= {f"excess_image_low_{key}": float(item.interval[0][0]) for key, item in excess.items()}
    clear = all(bool(item.above()[0]) for item in excess.values())
    why = (
        f"Registered CT and MR images share {_levels(registered, 0)} nats per token, those of different subjects "
        f"{_levels(shuffled, 0)}: {'clearly' if clear else 'not clearly'} less, by {_changes(excess, 0)}; tokens "
        f"in random order share {permuted:.3f} at most."
    )
    holds = clear and deviation <= TOLERANCE
    return StatementFinding("definition_7", Verdict.HOLDS if holds else Verdict.UNDECIDED, why, numbers)


def judge_theorem_2_4(
    registered: Estimates, names: Sequence[str], network: str = "trained"
) -> StatementFinding:
    """Judge whether information falls at no layer.

    Args:
        registered: information at each layer, by estimator.
        names: names of the layers.
        network: name of the network in a word.
    """
    flows = _changed(registered)
    lost = _agreed(flows)
    numbers = {f"smallest_cmif_{key}": float(flow.pooled.min()) for key, flow in flows.items()}
    numbers |= {f"information_image_{key}": float(item.pooled[0]) for key, item in registered.items()}
    numbers["layers_that_lose"] = float(lost.sum())
    if not lost.any():
        return _not_falling("theorem_2_4", flows, numbers, "shared information falls from layer to layer")
    worst = _worst(flows, lost)
    step = f"from {names[worst]} to {names[worst + 1]}"
    return StatementFinding(
        "theorem_2_4",
        Verdict.FAILS,
        f"By both estimators the shared information falls {step}: it changes by {_changes(flows, worst)} nats per "
        f"token. It falls at {int(lost.sum())} of {len(lost)} layers.",
        numbers,
        breaks="Eq. 16 has the data processing inequality the wrong way round: what is computed from both streams "
        f"shares at most what it is computed from, which bounds a layer from above, not from below. {DEPENDENT}",
        counterexample=f"The {network} network {step}: {_levels(registered, worst)} nats per token become "
        f"{_levels(registered, worst + 1)}. {_base_case(registered)}",
    )


def judge_theorem_2_7(
    registered: Estimates, names: Sequence[str], network: str = "trained"
) -> StatementFinding:
    """Judge whether every layer adds information, and each more than the one before.

    Args:
        registered: information at each layer, by estimator.
        names: names of the layers.
        network: name of the network in a word.
    """
    flows = _changed(registered)
    growths = _changed(flows)
    lost, slower = _agreed(flows), _agreed(growths)
    numbers = {f"smallest_cmif_{key}": float(flow.pooled.min()) for key, flow in flows.items()}
    numbers |= {f"smallest_growth_{key}": float(item.pooled.min()) for key, item in growths.items()}
    numbers |= {"layers_that_lose": float(lost.sum()), "layers_that_add_less": float(slower.sum())}
    if not lost.any() and not slower.any():
        both = flows | {f"{key} growth": item for key, item in growths.items()}
        return _not_falling("theorem_2_7", both, numbers, "flow is negative or falls")
    worst = _worst(growths, slower) if slower.any() else max(_worst(flows, lost) - 1, 0)
    before, after = names[worst + 1], names[worst + 2]
    return StatementFinding(
        "theorem_2_7",
        Verdict.FAILS,
        f"By both estimators, {int(lost.sum())} of {len(lost)} layers add less than nothing and "
        f"{int(slower.sum())} of {len(slower)} less than the one before: {before} adds {_changes(flows, worst)} "
        f"nats per token, {after} {_changes(flows, worst + 1)}.",
        numbers,
        breaks="The step after Eq. 35 takes from Theorem 2.4 that information does not fall, which is false; and "
        f"Eq. 35 adds CMIF(l) on its right side out of nothing, so that growth does not follow even then. {DEPENDENT}",
        counterexample=f"Flow of the {network} network into {before}: {_levels(flows, worst)} nats per token; into "
        f"{after}: {_levels(flows, worst + 1)}. {_base_case(registered)}",
    )


def of_either(trained: StatementFinding, initial: StatementFinding) -> StatementFinding:
    """Take the finding on the trained network, or that before training where only it refutes the theorem.

    The theorems speak of all networks of this kind, whatever their weights: any one of them can refute them.
    """
    numbers = {**trained.numbers, "layers_that_lose_before_training": initial.numbers["layers_that_lose"]}
    if trained.verdict is Verdict.FAILS or initial.verdict is not Verdict.FAILS:
        return replace(trained, numbers=numbers)
    return replace(initial, numbers=numbers, why=f"Before training. {initial.why}")


def _not_falling(key: str, changes: Estimates, numbers: Mapping[str, float], what: str) -> StatementFinding:
    """Give the verdict where no fall is certain by both estimators: it holds where no estimate falls either."""
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
    """Where all estimators find a change below 0 with confidence."""
    agreed: NDArray[np.bool_] = np.all([item.below() for item in changes.values()], axis=0)
    return agreed


def _worst(changes: Estimates, among: NDArray[np.bool_]) -> int:
    """Index of the largest fall that all estimators find."""
    least = np.max([item.pooled for item in changes.values()], axis=0)
    return int(np.argmin(np.where(among, least, np.inf)))


def _sum_deviation(item: JackknifeEstimate) -> float:
    return float(abs(item.change.pooled.sum() - (item.pooled[-1] - item.pooled[0])))


def _levels(estimates: Estimates, layer: int) -> str:
    """Write values of a layer, `1.20 (copula) and 1.10 (knn)`."""
    return " and ".join(f"{item.pooled[layer]:.2f} ({key})" for key, item in estimates.items())


def _changes(changes: Estimates, layer: int) -> str:
    """Write values of a layer with their intervals."""
    return " and ".join(
        f"{item.pooled[layer]:.2f} [{item.interval[0][layer]:.2f}, {item.interval[1][layer]:.2f}] ({key})"
        for key, item in changes.items()
    )


def _base_case(registered: Estimates) -> str:
    return f"And the images themselves share {_levels(registered, 0)}, not 0 as both proofs begin with."
