"""Reading what stages `compare`, `profile` and `tune` wrote."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from crossmodalnet.statistics.significance import Verdict
from pipeline.common import paths
from pipeline.common.errors import DataError
from pipeline.common.names import is_ablation
from pipeline.comparison import misregistration, modalities
from pipeline.profiling.spread import Spread
from pipeline.report.artefacts.comparison_records import (
    ComparisonRecord,
    Difference,
    Differences,
    MisregistrationRecord,
    ProfileRecord,
    StatementRecord,
    TrialRecord,
)
from pipeline.report.artefacts.reading import read_object, read_objects, read_table

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


def read_profile(name: str, top: Path) -> ProfileRecord:
    """Read the costs of a model or of an ablation's runs.

    Raises:
        DataError: its profile is missing or malformed.
    """
    path = top / paths.PROFILE / f"{name}.json"
    stage = "profile-ablation" if is_ablation(name) else "profile"
    content = read_object(path, stage)
    try:
        return _profile(content)
    except (KeyError, TypeError, ValueError) as error:
        problem = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path}: {problem}: run `dvc repro --force {stage}`") from error


def read_trials(name: str, top: Path) -> Sequence[TrialRecord]:
    """Read the learning rates that were tried on a model, lowest first; none where there was no search.

    Raises:
        DataError: a file is malformed.
    """
    trials = []
    for path in sorted((top / paths.TUNING / name).glob("*.json")):
        content = read_object(path, "tune")
        if missing := {"lr", "validation_dice", "epochs"} - set(content):
            raise DataError(f"{path} lacks {', '.join(sorted(missing))}: run `dvc repro --force tune`")
        trials.append(
            TrialRecord(float(content["lr"]), float(content["validation_dice"]), int(content["epochs"]))
        )
    return sorted(trials, key=lambda trial: trial.lr)


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


def _profile(content: Mapping[str, Any]) -> ProfileRecord:
    spreads = {
        key: Spread(*(float(content[key][part]) for part in ("median", "low", "high")))
        for key in ("step_seconds", "step_ratio", "inference_seconds")
    }
    return ProfileRecord(
        parameters=int(content["parameters"]),
        flops=int(content["flops"]),
        step_memory_mb=float(content["step_memory_mb"]),
        inference_memory_mb=float(content["inference_memory_mb"]),
        device=str(content["device"]),
        threads=int(content["threads"]),
        batch_size=int(content["batch_size"]),
        patch_size=tuple(int(size) for size in content["patch_size"]),
        **spreads,
    )
