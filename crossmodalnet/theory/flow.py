"""Information flow between CT and MR: Definition 7, Theorems 2.4 and 2.7, Corollary 1, measured and judged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet
from crossmodalnet.theory.entropy_bound import EntropyBound, bound, judge_corollary_1
from crossmodalnet.theory.findings import CheckOutcome, Row, StatementFinding, Verdict, not_applicable
from crossmodalnet.theory.flow_verdicts import (
    judge_definition_7,
    judge_theorem_2_4,
    judge_theorem_2_7,
    of_either,
)
from crossmodalnet.theory.information import copula_information, knn_information
from crossmodalnet.theory.jackknife import JackknifeEstimate, leave_one_out
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
