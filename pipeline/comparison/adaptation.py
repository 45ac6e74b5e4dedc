"""How an adaptation compares with its bounds and with its parts: tables and sentences."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crossmodalnet.imaging.structures import ABBREVIATIONS
from pipeline.comparison.adaptation_statements import adaptation_statements
from pipeline.comparison.domains import LOWER, DomainScores
from pipeline.comparison.gap import gap_by_seed, gap_table
from pipeline.comparison.resampling import interval, paired_values, resampled_means
from pipeline.comparison.scores import MEANS, score
from pipeline.comparison.statements import Statement
from pipeline.comparison.titles import METRICS
from pipeline.config.sections import CompareConfig
from pipeline.config.variants import OURS

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
