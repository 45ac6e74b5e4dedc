"""Which differences between methods the test pairs support, and how stable the ranks are."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossmodalnet.metrics.statistics import (
    PairedComparison,
    Verdict,
    compare_paired,
    holm,
    rank_stability,
    verdict,
)
from pipeline.comparison.scores import Methods, by_subject, group_of, subject_means
from pipeline.comparison.titles import METRICS, Metric
from pipeline.config.sections import CompareConfig
from pipeline.config.variants import OURS

COLUMNS = (
    "family", "metric", "method_a", "method_b", "difference", "low", "high", "p_value", "p_holm", "effect_size",
    "num_pairs", "num_tests", "verdict",
)  # fmt: skip
RANK_COLUMNS = ("metric", "method", "rank", "low", "high", "share_first", "num_subjects")
Contrast = tuple[str, str]


def pairwise_table(methods: Methods, reference: str, params: CompareConfig) -> pd.DataFrame:
    """Test the reference against every other model and the atlas, and the ablated network against its ablations.

    These are two families per metric; Holm's correction is within a family and a metric. Tested are the means over
    structures and seeds of each pair: intervals and p-values are about other subjects, not about other seeds. An
    ablation is compared with the network's runs of the same seeds.

    Returns:
        `COLUMNS`, family `models` or `ablations`, difference = a - b in the metric's own unit.
    """
    rows = [
        row
        for family, contrasts in families_of(methods, reference).items()
        for metric in METRICS
        for row in _family(family, metric, contrasts, methods, params)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def families_of(methods: Iterable[str], reference: str) -> dict[str, list[Contrast]]:
    """Say which methods are tested against which: the reference and the others, our network and its ablations."""
    others = [name for name in methods if group_of(name) != "ablation" and name != reference]
    ablations = [name for name in methods if group_of(name) == "ablation"]
    return {
        "models": [(reference, other) for other in others],
        "ablations": [(OURS, ablation) for ablation in ablations],
    }


def all_pairs_table(methods: Methods, params: CompareConfig) -> pd.DataFrame:
    """Test every model and the atlas against every other one by Dice; all of these tests are one family.

    Returns:
        `COLUMNS`, family `all_pairs`.
    """
    ranked = [name for name in methods if group_of(name) != "ablation"]
    rows = _family("all_pairs", METRICS[0], list(combinations(ranked, 2)), methods, params)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def rank_table(methods: Methods, params: CompareConfig) -> pd.DataFrame:
    """Rank models and the atlas by the mean over subjects, with intervals of the ranks; ablations are left out.

    Returns:
        `RANK_COLUMNS`, best first; a pair on which any method has no defined value is left out.
    """
    names = [name for name in methods if group_of(name) != "ablation"]
    rows = []
    for metric in METRICS:
        means = [subject_means(methods[name], metric.key).to_numpy(np.float64) for name in names]
        values: NDArray[np.float64] = np.stack(means)
        values = values[:, np.isfinite(values).all(axis=0)]
        if not values.size:
            continue
        ranks = rank_stability(
            values,
            higher_is_better=metric.higher_is_better,
            num_samples=params.bootstrap_samples,
            seed=params.seed,
        )
        found = [
            (metric.key, name, rank.rank, rank.low, rank.high, rank.share_first, values.shape[1])
            for name, rank in zip(names, ranks, strict=True)
        ]
        rows += sorted(found, key=lambda row: row[2])
    return pd.DataFrame(rows, columns=list(RANK_COLUMNS))


def paired_tests(
    family: str,
    metric: str,
    contrasts: Sequence[Contrast],
    values: Mapping[str, pd.DataFrame],
    params: CompareConfig,
) -> list[tuple[object, ...]]:
    """Test contrasts with Wilcoxon's test over pairs, corrected by Holm as one family.

    Args:
        family: name of the family; of `ablations`, the first method of a contrast is taken with the seeds of the
            second.
        metric: metric of the values.
        contrasts: methods a and b; those without a pair that both have are left out.
        values: values by method, a row per pair and a column per seed; NaN where undefined.
        params: level, bootstrap.

    Returns:
        Rows of `COLUMNS`.
    """
    tested: list[tuple[Contrast, PairedComparison]] = []
    for a, b in contrasts:
        first, second = values[a], values[b]
        if family == "ablations":
            first = first[[seed for seed in first.columns if seed in second.columns]]
        means = [table.mean(axis=1) for table in (first, second)]
        both = pd.concat(means, axis=1).dropna().to_numpy(np.float64)
        if len(both):
            options = {"num_samples": params.bootstrap_samples, "seed": params.seed}
            tested.append(((a, b), compare_paired(both[:, 0], both[:, 1], **options)))
    corrected = holm([found.p_value for _, found in tested])
    return [
        (family, metric, a, b, found.difference, found.low, found.high, found.p_value, p_holm,
         found.effect_size, found.num_pairs, len(tested), _verdict(found, p_holm, len(tested), params.alpha))
        for ((a, b), found), p_holm in zip(tested, corrected, strict=True)
    ]  # fmt: skip


def _family(
    family: str, metric: Metric, contrasts: Sequence[Contrast], methods: Methods, params: CompareConfig
) -> list[tuple[object, ...]]:
    names = {name for contrast in contrasts for name in contrast}
    values = {name: by_subject(methods[name], metric.key) for name in names}
    return paired_tests(family, metric.key, contrasts, values, params)


def _verdict(found: PairedComparison, p_holm: float, num_tests: int, alpha: float) -> Verdict:
    # The test is about ranks, the difference about the mean: a few outliers can make them contradict each other, and
    # then there is no direction in which to claim a difference.
    if found.difference * found.effect_size < 0:
        p_holm = 1.0
    return verdict(p_holm, found.num_pairs, num_tests, alpha)
