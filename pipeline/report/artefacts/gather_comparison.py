"""Reading what stage `compare` wrote."""

from pathlib import Path
from typing import get_args

import pandas as pd

from crossmodalnet.errors import DataError
from crossmodalnet.metrics.statistics import Verdict
from pipeline.comparison import conditions as modalities
from pipeline.comparison import misregistration
from pipeline.report.artefacts.comparison_records import (
    ComparisonRecord,
    Difference,
    Differences,
    MisregistrationRecord,
    StatementRecord,
)
from pipeline.runtime import paths
from pipeline.runtime.inputs import read_objects, read_table

SCORE_COLUMNS = ("method", "structure", "metric", "mean", "low", "high")
RANK_COLUMNS = ("metric", "method", "rank", "low", "high", "share_first")
PAIR_COLUMNS = ("metric", "method_a", "method_b")
DIFFERENCE_COLUMNS = ("difference", "low", "high", "p_value", "p_holm", "effect_size", "verdict")


def read_scores(top: Path) -> pd.DataFrame:
    """Read means and intervals of all methods.

    Raises:
        DataError: comparison/scores.csv is missing or malformed.
    """
    return read_table(top / paths.COMPARISON / "scores.csv", "compare", SCORE_COLUMNS)


def read_comparison(top: Path) -> ComparisonRecord:
    """Read differences, ranks and statements; what was measured under other conditions as far as it is there.

    Raises:
        DataError: one of their files is missing or malformed.
    """
    folder = top / paths.COMPARISON
    differences, all_pairs = (_read_differences(folder / f"{name}.csv") for name in ("pairwise", "all_pairs"))
    ranks = read_table(folder / "ranks.csv", "compare", RANK_COLUMNS, may_be_empty=True)
    alone = folder / modalities.TABLE
    return ComparisonRecord(
        differences,
        all_pairs,
        ranks,
        _read_statements(folder / "statements.json"),
        _read_misregistration(folder) if (folder / misregistration.TABLE).exists() else None,
        read_table(alone, "compare", modalities.COLUMNS) if alone.exists() else None,
    )


def _read_statements(path: Path) -> list[StatementRecord]:
    entries = read_objects(path, "compare", ("metric", "text", "kind"))
    return [
        StatementRecord(str(e["metric"]), str(e["text"]), str(e["kind"]), str(e.get("family", "")))
        for e in entries
    ]


def _read_misregistration(folder: Path) -> MisregistrationRecord:
    losses = folder / misregistration.LOSSES
    return MisregistrationRecord(
        read_table(folder / misregistration.TABLE, "compare", misregistration.COLUMNS),
        read_table(losses, "compare", misregistration.LOSS_COLUMNS, may_be_empty=True),
        _read_statements(folder / misregistration.STATEMENTS),
    )


def _read_differences(path: Path) -> Differences:
    tests = read_table(path, "compare", (*PAIR_COLUMNS, *DIFFERENCE_COLUMNS), may_be_empty=True)
    if unknown := sorted({str(verdict) for verdict in tests["verdict"]} - set(get_args(Verdict))):
        raise DataError(f"{path}: unknown verdict {', '.join(unknown)}: run `dvc repro --force compare`")
    return {
        (row["metric"], row["method_a"], row["method_b"]): Difference(
            *(row[column] for column in DIFFERENCE_COLUMNS)
        )
        for row in tests.to_dict("records")
    }
