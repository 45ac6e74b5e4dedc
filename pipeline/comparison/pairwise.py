"""Test methods against each other in pairs, and rank them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from crossmodalnet.metrics.scores import METRICS, Metric
from crossmodalnet.metrics.statistics import compare_paired, holm, rank_stability, verdict
from pipeline.comparison.scores import Methods, by_subject, group_of
from pipeline.config.sections import CompareConfig
from pipeline.config.variants import OURS

COLUMNS = (
    "family", "metric", "method_a", "method_b", "difference", "low", "high", "p_value", "p_holm", "effect_size",
    "num_pairs", "num_tests", "verdict",
)  # fmt: skip
RANK_COLUMNS = ("metric", "method", "rank", "low", "high", "share_first", "num_subjects")
Contrast = tuple[str, str]


def pairwise_table(methods: Methods, reference: str, params: CompareConfig) -> pd.DataFrame:
    """Test the reference against other models and the atlas, and the network against its ablations: `COLUMNS`.

    Holm's correction is per family and metric; difference = a - b in the metric's unit. Tests compare means over
    structures and seeds of each pair: they generalise to other subjects, not to other seeds.
    """
    rows = [
        row
        for family, contrasts in families_of(methods, reference).items()
        for metric in METRICS
        for row in _family(family, metric, contrasts, methods, params)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def families_of(methods: Iterable[str], reference: str) -> dict[str, list[Contrast]]:
    """List the contrasts: reference and other methods, our network and its ablations."""
    groups = {name: group_of(name) for name in methods}
    return {
        "models": [(reference, n) for n, group in groups.items() if group != "ablation" and n != reference],
        "ablations": [(OURS, n) for n, group in groups.items() if group == "ablation"],
    }


def all_pairs_table(methods: Methods, params: CompareConfig) -> pd.DataFrame:
    """Test all models and the atlas against each other by Dice, as one family `all_pairs`."""
    ranked = [name for name in methods if group_of(name) != "ablation"]
    rows = _family("all_pairs", METRICS[0], list(combinations(ranked, 2)), methods, params)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def rank_table(methods: Methods, params: CompareConfig) -> pd.DataFrame:
    """Rank models and the atlas, best first, over the pairs that all methods have defined."""
    names = [name for name in methods if group_of(name) != "ablation"]
    tables = []
    for metric in METRICS:
        means = [by_subject(methods[name], metric.key).mean(axis=1).to_numpy(np.float64) for name in names]
        values = np.stack(means)
        defined = np.isfinite(values).all(axis=0)
        if not defined.any():
            continue
        ranks = rank_stability(
            values, higher_is_better=metric.higher_is_better, num_samples=params.bootstrap_samples, seed=params.seed
        )
        ranks = ranks.assign(metric=metric.key, method=names, num_subjects=int(defined.sum()))
        tables.append(ranks.sort_values("rank", kind="stable"))
    if not tables:
        return pd.DataFrame(columns=list(RANK_COLUMNS))
    return pd.concat(tables, ignore_index=True)[list(RANK_COLUMNS)]


def paired_tests(
    family: str, metric: str, contrasts: Sequence[Contrast], values: Mapping[str, pd.DataFrame], params: CompareConfig
) -> list[tuple[object, ...]]:
    """Test contrasts with Wilcoxon's test over pairs, corrected by Holm as one family.

    Args:
        family: with `ablations`, method a is restricted to the seeds of method b.
        contrasts: methods a and b; those without common pairs are left out.
        values: by method, a row per pair and a column per seed; NaN where undefined.

    Returns:
        Rows of `COLUMNS`.
    """
    tests = []
    for a, b in contrasts:
        first, second = values[a], values[b]
        if family == "ablations":
            first = first[[seed for seed in first.columns if seed in second.columns]]
        means = [table.mean(axis=1) for table in (first, second)]
        both = pd.concat(means, axis=1).dropna().to_numpy(np.float64)
        if len(both):
            options = {"num_samples": params.bootstrap_samples, "seed": params.seed}
            tests.append((a, b, compare_paired(both[:, 0], both[:, 1], **options)))
    rows: list[tuple[object, ...]] = []
    for (a, b, test), p_holm in zip(tests, holm([test.p_value for _, _, test in tests]), strict=True):
        # Outliers can make ranks and mean disagree: no difference is claimed then.
        contradict = test.difference * test.effect_size < 0
        outcome = verdict(1.0 if contradict else p_holm, test.num_pairs, len(tests), params.alpha)
        rows.append((
            family, metric, a, b, test.difference, test.low, test.high, test.p_value, p_holm, test.effect_size,
            test.num_pairs, len(tests), outcome,
        ))  # fmt: skip
    return rows


def _family(
    family: str, metric: Metric, contrasts: Sequence[Contrast], methods: Methods, params: CompareConfig
) -> list[tuple[object, ...]]:
    names = {name for contrast in contrasts for name in contrast}
    values = {name: by_subject(methods[name], metric.key) for name in names}
    return paired_tests(family, metric.key, contrasts, values, params)
