"""Comparison of an adapted network with its bounds and its parts, on source and target."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossmodalnet.imaging.structures import ABBREVIATIONS
from pipeline.comparison.scores import (
    MEANS,
    TAIL,
    Methods,
    check_methods,
    interval,
    paired_values,
    read_runs,
    resampled_means,
    score,
)
from pipeline.comparison.statements import Statement
from pipeline.comparison.titles import JADA, METRICS
from pipeline.comparison.titles import adapted_title_of as title
from pipeline.config.sections import CompareConfig
from pipeline.config.variants import OURS, SOURCE_ONLY, SUPERVISED, method_of
from pipeline.evaluation.score_cases import MEAN
from pipeline.runtime.paths import of_run

LOWER, UPPER = method_of(SOURCE_ONLY), method_of(SUPERVISED)
CASES = "cases.csv"
TARGET = "target"
STAGES = "evaluate evaluate-adaptation"


@dataclass(frozen=True)
class DomainScores:
    """Scores per case, seed and structure (columns of cases.csv, and the seed), by method.

    The adapted network is `crossmodalnet`. Order: source-only, the adapted network, what it is compared with,
    supervised training.

    Attributes:
        source: scores on the test cases of the domain that has labels.
        target: scores on the labelled test cases of the domain adapted to; empty where there are none.
    """

    source: Methods
    target: Methods

    @property
    def bounded(self) -> bool:
        """Whether the target was scored with both bounds: without adaptation, and trained on its labels."""
        return LOWER in self.target and UPPER in self.target


def read_domain_scores(evaluation: Path, variants: Sequence[str], seeds: Sequence[int]) -> DomainScores:
    """Read the cases of the adapted network and of its variants, every one with every seed.

    A target without labelled test cases is scored by no evaluation; one that only some evaluations scored is an
    error.

    Args:
        evaluation: folder with `<method>/seed<k>/cases.csv` and `<method>/seed<k>/target/cases.csv`.
        variants: `adaptations` of params.yaml.
        seeds: seeds of params.yaml.

    Raises:
        DataError: an evaluation is missing or malformed, or not of the cases of the others.
    """
    runs = {name: {seed: of_run(evaluation, name, seed) for seed in seeds} for name in _ordered(variants)}
    source = {name: read_runs(_cases(folders), STAGES) for name, folders in runs.items()}
    check_methods(source)
    if not any(
        (folder / TARGET / CASES).exists() for folders in runs.values() for folder in folders.values()
    ):
        return DomainScores(source, {})
    inner = {name: {seed: folder / TARGET for seed, folder in f.items()} for name, f in runs.items()}
    target = {name: read_runs(_cases(folders), STAGES) for name, folders in inner.items()}
    check_methods(target)
    return DomainScores(source, target)


def _cases(folders: Mapping[int, Path]) -> dict[int, Path]:
    return {seed: folder / CASES for seed, folder in folders.items()}


def _ordered(variants: Sequence[str]) -> list[str]:
    others = [method_of(variant) for variant in variants]
    parts = [name for name in others if name not in (LOWER, UPPER)]
    return [*([LOWER] if LOWER in others else []), OURS, *parts, *([UPPER] if UPPER in others else [])]


GAP_COLUMNS = (
    "method", "structure", "source_only", "dice", "supervised", "share", "low", "high", "num_samples",
    "num_without_gap", "num_subjects", "num_seeds", "source_loss", "source_loss_low", "source_loss_high",
)  # fmt: skip
SEED_COLUMNS = ("method", "structure", "seed", "source_only", "dice", "supervised", "share")


@dataclass(frozen=True)
class GapShare:
    """Share of a gap; NaN where it is not defined.

    Attributes:
        share: (method - lower) / (upper - lower); below 0 and above 1 are possible. NaN without a positive gap.
        low: lower end of its 95 % interval, or NaN: see `share_of_gap`.
        high: upper end.
        num_without_gap: resamplings in which the gap was not positive.
    """

    share: float
    low: float
    high: float
    num_without_gap: int


def share_of_gap(values: NDArray[np.float64], params: CompareConfig) -> GapShare:
    """Give the share of the gap between two bounds that a method closes, with its interval.

    Lower bound, method and upper bound are resampled together, so that the interval is that of a paired share.
    Where a resampling has no positive gap, the share could be anything: such a resampling counts as minus infinity
    for the lower end and as infinity for the upper end. A few of them widen the interval; with more than 2.5 % of
    them it has no ends (NaN).

    Args:
        values: `(3, num_subjects, num_seeds)`, finite: lower bound, method, upper bound.
        params: number of samples, seed.
    """
    lower, method, upper = values.mean(axis=(1, 2))
    means = resampled_means(values, params)
    gaps = means[:, 2] - means[:, 0]
    known = gaps > 0
    shares = (means[known, 1] - means[known, 0]) / gaps[known]
    missing = int((~known).sum())
    ends = (math.nan, math.nan)
    if upper > lower and missing <= int(TAIL * (len(means) - 1)):
        # So few lie beyond the quantile on either side that their value does not matter, as long as it is extreme.
        low, _ = interval(np.append(shares, np.full(missing, shares.min())))
        _, high = interval(np.append(shares, np.full(missing, shares.max())))
        ends = (low, high)
    share = float((method - lower) / (upper - lower)) if upper > lower else math.nan
    return GapShare(share, *ends, missing)


def gap_table(scores: DomainScores, params: CompareConfig) -> pd.DataFrame:
    """Give each method its share of the gap on the target, in Dice, and what it loses on the source.

    Returns:
        `GAP_COLUMNS`, a row per method that is no bound and per mean of structures; means are over subjects and
        seeds. `share` is empty where supervised training is not better, `low` and `high` where too many of the
        resamplings have no gap. `source_loss` is source-only minus method on the source's test cases, below 0
        where the method is better there. No row without both bounds, or where nothing is defined.
    """
    rows = []
    for method, structure in _contrasts(scores):
        names = (LOWER, method, UPPER)
        values = paired_values([scores.target[name] for name in names], structure)
        source = paired_values([scores.source[name] for name in names[:2]], structure)
        if not (values.size and source.size):
            continue
        found = share_of_gap(values, params)
        losses = resampled_means(source, params)
        loss = float(source[0].mean() - source[1].mean())
        rows.append((
            method, structure, *values.mean(axis=(1, 2)), found.share, found.low, found.high, params.bootstrap_samples,
            found.num_without_gap, *values.shape[1:], loss, *interval(losses[:, 0] - losses[:, 1]),
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(GAP_COLUMNS))


def gap_by_seed(scores: DomainScores) -> pd.DataFrame:
    """Give the shares of every seed on its own.

    Returns:
        `SEED_COLUMNS`; `share` is empty where supervised training is not better with that seed.
    """
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
    """List methods and means of structures; none without both bounds."""
    if not scores.bounded:
        return []
    return [(name, structure) for name in scores.target if name not in (LOWER, UPPER) for structure in MEANS]


DOMAINS = ("source", "target")
SHOWN = tuple(metric for metric in METRICS if metric.key in ("dice", "hd95_mm", "assd_mm", "betti_error"))
COLUMNS = (
    "method", "domain", "structure", "metric", "mean", "low", "high", "num_subjects", "num_seeds",
)  # fmt: skip
STRUCTURE_COLUMNS = (
    "structure", "source_only", "adapted", "difference", "low", "high", "num_subjects", "num_seeds",
)  # fmt: skip
SCORES, GAP, GAP_SEEDS, STRUCTURES, STATEMENTS = (
    "adaptation.csv", "gap.csv", "gap_seeds.csv", "adaptation_structures.csv", "adaptation_statements.json",
)  # fmt: skip


@dataclass(frozen=True)
class AdaptationComparison:
    """All that is known about how an adaptation compares.

    Attributes:
        scores: `COLUMNS`.
        gap: `gap.GAP_COLUMNS`; empty where a bound is missing, or labels of the target.
        gap_seeds: `gap.SEED_COLUMNS`; likewise.
        structures: `STRUCTURE_COLUMNS`; empty without source-only training, or labels of the target.
        statements: statements in plain words.
    """

    scores: pd.DataFrame
    gap: pd.DataFrame
    gap_seeds: pd.DataFrame
    structures: pd.DataFrame
    statements: list[Statement]


def compare_adaptation(scores: DomainScores, params: CompareConfig) -> AdaptationComparison:
    """Compare an adapted network with its bounds and parts, on the target and on the source."""
    table, gap, seeds = adaptation_table(scores, params), gap_table(scores, params), gap_by_seed(scores)
    structures = structure_table(scores, params)
    said = adaptation_statements(table, gap, seeds, structures)
    return AdaptationComparison(table, gap, seeds, structures, said)


def adaptation_table(scores: DomainScores, params: CompareConfig) -> pd.DataFrame:
    """Average the metrics of every method over subjects and seeds, in both domains.

    Returns:
        `COLUMNS`; structures, then the means of all and of SIFA's four. No row where nothing is defined.
    """
    rows = []
    for domain, methods in zip(DOMAINS, (scores.source, scores.target), strict=True):
        for method, cases in methods.items():
            for structure in (*ABBREVIATIONS, *MEANS):
                for metric in SHOWN:
                    row = score(cases, structure, metric, params)
                    rows += [(method, domain, structure, metric.key, *row)] if row else []
    return pd.DataFrame(rows, columns=list(COLUMNS))


def structure_table(scores: DomainScores, params: CompareConfig) -> pd.DataFrame:
    """Compare the adapted network with source-only training on the target, in Dice, structure by structure.

    Returns:
        `STRUCTURE_COLUMNS`, difference = adapted - source-only, with its paired 95 % interval over subjects and
        seeds.
    """
    rows = []
    for structure in (*ABBREVIATIONS, *MEANS) if LOWER in scores.target else ():
        values = paired_values([scores.target[LOWER], scores.target[OURS]], structure)
        if values.size:
            lower, adapted = values.mean(axis=(1, 2))
            means = resampled_means(values, params)
            ends = interval(means[:, 1] - means[:, 0])
            rows.append((structure, lower, adapted, adapted - lower, *ends, *values.shape[1:]))
    return pd.DataFrame(rows, columns=list(STRUCTURE_COLUMNS))


def write_adaptation(folder: Path, found: AdaptationComparison) -> None:
    """Write the tables and statements into an existing folder; a table that is empty is not written."""
    tables = {SCORES: found.scores, GAP: found.gap, GAP_SEEDS: found.gap_seeds, STRUCTURES: found.structures}
    for name, table in tables.items():
        if not table.empty:
            table.to_csv(folder / name, index=False, float_format="%.6g")
    (folder / STATEMENTS).write_text(
        json.dumps(found.statements, indent=2, ensure_ascii=False) + "\n", "utf-8"
    )


Row = Mapping[Any, Any]


def adaptation_statements(
    scores: pd.DataFrame, gap: pd.DataFrame, seeds: pd.DataFrame, structures: pd.DataFrame
) -> list[Statement]:
    """Say how much of the gap is closed, at what price on the source, where, and by which parts.

    Args:
        scores: `adaptation.COLUMNS`.
        gap: `gap.GAP_COLUMNS`.
        seeds: `gap.SEED_COLUMNS`.
        structures: `adaptation.STRUCTURE_COLUMNS`.

    Returns:
        Each with metric, kind (gap, seeds, structures, part) and text.
    """
    dice = scores[(scores["metric"] == "dice") & (scores["structure"] == MEAN)]
    rows = {str(row["method"]): row for row in gap[gap["structure"] == MEAN].to_dict("records")}
    found = [_statement("gap", _main(rows[OURS]) if OURS in rows else _scores_alone(dice))]
    if OURS in rows:
        own = seeds[(seeds["method"] == OURS) & (seeds["structure"] == MEAN)]
        if len(own) > 1:
            found.append(_statement("seeds", _by_seed(own)))
    if not structures.empty:
        found.append(_statement("structures", _structures(structures)))
    return found + [_statement("part", _part(row)) for name, row in rows.items() if name != OURS]


def _statement(kind: str, text: str) -> Statement:
    return {"metric": "dice", "kind": kind, "text": text}


def _main(row: Row) -> str:
    lower, upper = f"{row['source_only']:.3f}", f"{row['supervised']:.3f}"
    evidence = f"{_count(row['num_subjects'], 'test case')}, {_count(row['num_seeds'], 'seed')}"
    source = f"on the source it {_loss(row)}"
    if _undefined(row["share"]):
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
    text = f"{_percent(row['share'])} %"
    if not _undefined(row["low"]):
        return f"{text} [{_percent(row['low'])}, {_percent(row['high'])}]"
    few = f"{row['num_without_gap']:g} of {row['num_samples']:g}"
    return f"{text} (no interval: in {few} resamplings there is no gap)"


def _loss(row: Row) -> str:
    loss, low, high = (float(row[key]) for key in ("source_loss", "source_loss_low", "source_loss_high"))
    if loss < 0:
        loss, low, high, word = -loss, -high, -low, "gains"
    else:
        word = "loses"
    return f"{word} {loss:.3f} Dice [{low:.3f}, {high:.3f}]"


def _scores_alone(dice: pd.DataFrame) -> str:
    """Give the scores where there is no share: a bound is missing, or labels of the target."""
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
    shares = [
        "no gap" if _undefined(share) else f"{_percent(share)} %" for share in own["share"].astype(float)
    ]
    listed = ", ".join(f"seed {seed} {share}" for seed, share in zip(own["seed"], shares, strict=True))
    return f"Share of the gap that {JADA} recovers with each seed: {listed}."


def _structures(structures: pd.DataFrame) -> str:
    single = structures[structures["structure"].isin(ABBREVIATIONS)]
    better = single["difference"] > 0
    sure, sure_worse = (single["low"] > 0).sum(), (single["high"] < 0).sum()
    text = (
        f"On the target {JADA} has a higher Dice than source-only training in {better.sum()} of {len(single)}"
    )
    text += f" structures, in {sure} of them with an interval above 0"
    worse = single[~better]["structure"].tolist()
    if worse:
        text += f"; not in {', '.join(worse)}"
        text += f" ({sure_worse} with an interval below 0)" if sure_worse else ""
    return f"{text}."


def _part(row: Row) -> str:
    name = title(str(row["method"]))
    source = f"on the source it {_loss(row)}"
    if _undefined(row["share"]):
        return f"{name}: Dice {row['dice']:.3f} on the target; {source}."
    return f"{name} recovers {_share(row)}, Dice {row['dice']:.3f}; {source}."


def _undefined(value: Any) -> bool:
    return bool(value != value)


def _percent(share: Any) -> str:
    # Minus zero is no share.
    return f"{round(100 * float(share)) + 0:d}"


def _count(number: Any, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"
