"""Compare an adapted network with its bounds and its parts, on source and target."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.io.console import count
from crossmodalnet.metrics.statistics import quantile_interval
from pipeline.comparison.scores import (
    CASES,
    MEANS,
    Methods,
    check_methods,
    difference_of,
    paired_values,
    read_methods,
    resampled_means,
    score,
)
from pipeline.comparison.statements import Findings, Statement
from pipeline.comparison.titles import JADA
from pipeline.comparison.titles import adapted_title_of as title
from pipeline.config.sections import CompareConfig
from pipeline.config.variants import OURS, SOURCE_ONLY, SUPERVISED, method_of
from pipeline.evaluation.score_cases import MEAN
from pipeline.runtime.paths import of_run

LOWER, UPPER = method_of(SOURCE_ONLY), method_of(SUPERVISED)
TARGET = "target"
STAGES = "evaluate evaluate-adaptation"
SHOWN = ("dice", "hd95_mm", "assd_mm", "betti_error")
COLUMNS = (
    "method", "domain", "structure", "metric", "mean", "low", "high", "num_subjects", "num_seeds",
)  # fmt: skip
STRUCTURE_COLUMNS = (
    "structure", "source_only", "adapted", "difference", "low", "high", "num_subjects", "num_seeds",
)  # fmt: skip
GAP_COLUMNS = (
    "method", "structure", "source_only", "dice", "supervised", "share", "low", "high", "num_samples",
    "num_without_gap", "num_subjects", "num_seeds", "source_loss", "source_loss_low", "source_loss_high",
)  # fmt: skip
SEED_COLUMNS = ("method", "structure", "seed", "source_only", "dice", "supervised", "share")
SCORES, GAP, GAP_SEEDS, STRUCTURES, STATEMENTS = (
    "adaptation.csv", "gap.csv", "gap_seeds.csv", "adaptation_structures.csv", "adaptation_statements.json",
)  # fmt: skip
# Share beyond either end of a 95 % interval.
TAIL = 0.025
Row = Mapping[Any, Any]


class DomainScores(NamedTuple):
    """Scores per method on the test cases of both domains; `target` is empty without labels.

    Order: source-only, adapted (`crossmodalnet`), its variants, supervised.
    """

    source: Methods
    target: Methods


def read_domain_scores(evaluation: Path, variants: Sequence[str], seeds: Sequence[int]) -> DomainScores:
    """Read `<method>/seed<k>[/target]/cases.csv` of the adapted network and its variants (`adaptations`)."""
    others = [method_of(variant) for variant in variants]
    parts = [name for name in others if name not in (LOWER, UPPER)]
    lower, upper = ([name] if name in others else [] for name in (LOWER, UPPER))
    names = [*lower, OURS, *parts, *upper]
    runs = {name: {seed: of_run(evaluation, name, seed) for seed in seeds} for name in names}
    targets = {name: {seed: run / TARGET for seed, run in own.items()} for name, own in runs.items()}
    source = read_methods(runs, STAGES)
    check_methods(source)
    if not any((folder / CASES).exists() for own in targets.values() for folder in own.values()):
        return DomainScores(source, {})
    target = read_methods(targets, STAGES)
    check_methods(target)
    return DomainScores(source, target)


def compare_adaptation(scores: DomainScores, params: CompareConfig) -> Findings:
    """Compare an adapted network with its bounds and parts, on both domains; empty tables are left out.

    Gap shares need both bounds, structures need source-only training; both need target labels.
    """
    table, gap, seeds = adaptation_table(scores, params), gap_table(scores, params), gap_by_seed(scores)
    structures = structure_table(scores, params)
    tables = {SCORES: table, GAP: gap, GAP_SEEDS: seeds, STRUCTURES: structures}
    return Findings(
        {name: rows for name, rows in tables.items() if not rows.empty},
        STATEMENTS,
        _statements(table, gap, seeds, structures),
    )


def adaptation_table(scores: DomainScores, params: CompareConfig) -> pd.DataFrame:
    """Average metrics over subjects and seeds, per structure and for the means of all and SIFA's four."""
    rows = []
    for domain, methods in scores._asdict().items():
        for method, cases in methods.items():
            for structure in (*ABBREVIATIONS, *MEANS):
                for metric in SHOWN:
                    row = score(cases, structure, metric, params)
                    rows += [(method, domain, structure, metric, *row)] if row else []
    return pd.DataFrame(rows, columns=list(COLUMNS))


def structure_table(scores: DomainScores, params: CompareConfig) -> pd.DataFrame:
    """Compare Dice per structure on the target: `STRUCTURE_COLUMNS`.

    difference = adapted - source-only, with its paired 95 % interval.
    """
    rows = []
    for structure in (*ABBREVIATIONS, *MEANS) if LOWER in scores.target else ():
        tables = [scores.target[LOWER], scores.target[OURS]]
        values = paired_values(tables, structure)
        if change := difference_of(tables, structure, "dice", params):
            rows.append((structure, *values.mean(axis=(1, 2)), *change, *values.shape[1:]))
    return pd.DataFrame(rows, columns=list(STRUCTURE_COLUMNS))


def share_of_gap(values: NDArray[np.float64], params: CompareConfig) -> tuple[float, tuple[float, float], int]:
    """Compute the share of the gap between two bounds that a method closes, with its interval.

    Bounds and method are resampled together. A resampling without a positive gap counts as minus infinity for the lower
    end and as infinity for the upper end; with more than 2.5 % of them the interval has no ends.

    Args:
        values: `(3, num_subjects, num_seeds)`, finite: lower bound, method, upper bound.

    Returns:
        (method - lower) / (upper - lower), may lie outside 0 to 1, NaN without a positive gap; its 95 % interval, or
        NaN; the number of resamplings without a positive gap.
    """
    lower, method, upper = values.mean(axis=(1, 2))
    means = resampled_means(values, params)
    gaps = means[:, 2] - means[:, 0]
    positive = gaps > 0
    shares = (means[positive, 1] - means[positive, 0]) / gaps[positive]
    missing = int((~positive).sum())
    if upper <= lower:
        return math.nan, (math.nan, math.nan), missing
    share = float((method - lower) / (upper - lower))
    if missing > int(TAIL * (len(means) - 1)):
        return share, (math.nan, math.nan), missing
    # All of these lie beyond the quantile, so any extreme value will do.
    low, _ = quantile_interval(np.append(shares, np.full(missing, shares.min())))
    _, high = quantile_interval(np.append(shares, np.full(missing, shares.max())))
    return share, (low, high), missing


def gap_table(scores: DomainScores, params: CompareConfig) -> pd.DataFrame:
    """Compute each method's share of the gap on the target, in Dice, and its loss on the source.

    Returns:
        `GAP_COLUMNS`, a row per method that is no bound and per mean of structures; undefined rows are left out.
        `share` is NaN where supervised training is not better; `low` and `high` where too many resamplings have no gap.
        `source_loss` = source-only - method on the source.
    """
    rows = []
    for method, structure in _contrasts(scores):
        values = paired_values([scores.target[name] for name in (LOWER, method, UPPER)], structure)
        loss = difference_of([scores.source[method], scores.source[LOWER]], structure, "dice", params)
        if values.size and loss:
            share, ends, num_without_gap = share_of_gap(values, params)
            rows.append((
                method, structure, *values.mean(axis=(1, 2)), share, *ends, params.bootstrap_samples,
                num_without_gap, *values.shape[1:], *loss,
            ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(GAP_COLUMNS))


def gap_by_seed(scores: DomainScores) -> pd.DataFrame:
    """Compute the shares of single seeds; NaN where supervised training is not better."""
    rows = []
    for method, structure in _contrasts(scores):
        tables = [scores.target[name] for name in (LOWER, method, UPPER)]
        values = paired_values(tables, structure)
        if not values.size:
            continue
        seeds = sorted(int(seed) for seed in tables[0]["seed"].unique())
        for seed, (lower, dice, upper) in zip(seeds, values.mean(axis=1).T, strict=True):
            share = (dice - lower) / (upper - lower) if upper > lower else math.nan
            rows.append((method, structure, seed, lower, dice, upper, share))
    return pd.DataFrame(rows, columns=list(SEED_COLUMNS))


def _contrasts(scores: DomainScores) -> list[tuple[str, str]]:
    """List methods and means of structures; empty without both bounds."""
    if not {LOWER, UPPER} <= set(scores.target):
        return []
    return [(name, structure) for name in scores.target if name not in (LOWER, UPPER) for structure in MEANS]


def _statements(
    scores: pd.DataFrame, gap: pd.DataFrame, seeds: pd.DataFrame, structures: pd.DataFrame
) -> list[Statement]:
    """State the gap share, the loss on the source, the structures, and the shares of the parts."""
    dice = scores[(scores["metric"] == "dice") & (scores["structure"] == MEAN)]
    rows = {str(row["method"]): row for row in gap[gap["structure"] == MEAN].to_dict("records")}
    texts = [("gap", _main(rows[OURS]) if OURS in rows else _scores_alone(dice))]
    own = seeds[(seeds["method"] == OURS) & (seeds["structure"] == MEAN)]
    if OURS in rows and len(own) > 1:
        texts.append(("seeds", _by_seed(own)))
    if not structures.empty:
        texts.append(("structures", _structures(structures)))
    texts += [("part", _part(row)) for name, row in rows.items() if name != OURS]
    return [{"metric": "dice", "kind": kind, "text": text} for kind, text in texts]


def _main(row: Row) -> str:
    lower, upper = f"{row['source_only']:.3f}", f"{row['supervised']:.3f}"
    evidence = f"{count(row['num_subjects'], 'test case')}, {count(row['num_seeds'], 'seed')}"
    source = f"on the source it {_loss(row)}"
    if math.isnan(row["share"]):
        return (
            f"On the target supervised training (Dice {upper}) is no better than source-only training ({lower}): "
            f"there is no gap to recover. {JADA} reaches {row['dice']:.3f} there ({evidence}); {source}."
        )
    between = f"the gap between source-only ({lower}) and supervised training ({upper}) on the target"
    if row["share"] < 0:
        lead = f"{JADA} recovers nothing of {between}: its Dice is {row['dice']:.3f} there, a share of {_share(row)}"
    else:
        lead = f"{JADA} recovers {_share(row)} of {between} in Dice, {row['dice']:.3f}"
    return f"{lead} ({evidence}); {source}."


def _share(row: Row) -> str:
    text = _percent(row["share"])
    if not math.isnan(row["low"]):
        low, high = (_percent(row[end]).removesuffix(" %") for end in ("low", "high"))
        return f"{text} [{low}, {high}]"
    few = f"{row['num_without_gap']:g} of {row['num_samples']:g}"
    return f"{text} (no interval: in {few} resamplings there is no gap)"


def _loss(row: Row) -> str:
    loss, low, high = (float(row[key]) for key in ("source_loss", "source_loss_low", "source_loss_high"))
    if loss < 0:
        return f"gains {-loss:.3f} Dice [{-high:.3f}, {-low:.3f}]"
    return f"loses {loss:.3f} Dice [{low:.3f}, {high:.3f}]"


def _scores_alone(dice: pd.DataFrame) -> str:
    """Report scores where a bound or the target labels are missing."""
    rows = {(row["method"], row["domain"]): row for row in dice.to_dict("records")}
    domain = "target" if (OURS, "target") in rows else "source"
    parts = [
        f"{title(name)} {rows[name, domain]['mean']:.3f} [{rows[name, domain]['low']:.3f}, "
        f"{rows[name, domain]['high']:.3f}]"
        for name in (LOWER, OURS, UPPER)
        if (name, domain) in rows
    ]
    why = (
        "`adaptations` lacks source_only or supervised, so there is no gap to compare with"
        if domain == "target"
        else "the target has no labelled test case, so nothing can be said about it"
    )
    return f"Dice on the {domain}: {', '.join(parts)}; {why}."


def _by_seed(own: pd.DataFrame) -> str:
    shares = ["no gap" if math.isnan(share) else _percent(share) for share in own["share"].astype(float)]
    listed = ", ".join(f"seed {seed} {share}" for seed, share in zip(own["seed"], shares, strict=True))
    return f"Share of the gap that {JADA} recovers with each seed: {listed}."


def _structures(structures: pd.DataFrame) -> str:
    single = structures[structures["structure"].isin(ABBREVIATIONS)]
    better = single["difference"] > 0
    above, below = (single["low"] > 0).sum(), (single["high"] < 0).sum()
    text = (
        f"On the target {JADA} has a higher Dice than source-only training in {better.sum()} of {len(single)} "
        f"structures, in {above} of them with an interval above 0"
    )
    if worse := single[~better]["structure"].tolist():
        text += f"; not in {', '.join(worse)}"
        text += f" ({below} with an interval below 0)" if below else ""
    return f"{text}."


def _part(row: Row) -> str:
    name = title(str(row["method"]))
    source = f"on the source it {_loss(row)}"
    if math.isnan(row["share"]):
        return f"{name}: Dice {row['dice']:.3f} on the target; {source}."
    return f"{name} recovers {_share(row)}, Dice {row['dice']:.3f}; {source}."


def _percent(share: float) -> str:
    # Adding 0 removes minus zero.
    return f"{round(100 * share) + 0:d} %"
