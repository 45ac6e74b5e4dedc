"""Reading what an adaptation left: scores in both domains, what might have been kept, a case to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.comparison.adaptation import GAP, GAP_COLUMNS, LOWER, SCORES, STATEMENTS, STRUCTURES
from pipeline.config.variants import OURS, is_adaptation
from pipeline.evaluation.score_cases import CASE_COLUMNS, CHOICE_COLUMNS, CHOICES_FILE
from pipeline.preparation.domain import NATIVE, SOURCE_CASES, TARGET_CASES, WORKING, Domain
from pipeline.report.artefacts.adaptation_records import AdaptationRecord, Roles, TargetCase
from pipeline.report.artefacts.results import Estimate, Estimates, TestCase
from pipeline.runtime import paths
from pipeline.runtime.inputs import existing, read_object, read_objects, read_table

SCORE_COLUMNS = ("method", "domain", "structure", "metric", "mean", "low", "high")
STRUCTURE_COLUMNS = ("structure", "source_only", "adapted", "difference", "low", "high")


def read_adaptation(
    domain: Domain, target_source: str, source_names: Roles, seeds: Sequence[int], top: Path
) -> AdaptationRecord:
    """Read what the adaptation to a domain left.

    Args:
        domain: the record of the target.
        target_source: `adapt.target.source`.
        source_names: labelled cases by role.
        seeds: seeds of params.yaml.
        top: folder that `pipeline.runtime.paths` are relative to.

    Raises:
        DataError: an artefact is missing or malformed; names it and the stage that makes it.
    """
    folder = top / paths.COMPARISON
    scores = read_table(folder / SCORES, "compare", SCORE_COLUMNS)
    statements = read_objects(folder / STATEMENTS, "compare", ("kind", "text"))
    source, target = (_estimates(scores[scores["domain"] == name]) for name in ("source", "target"))
    runs = {seed: paths.of_run(top / paths.EVALUATION, OURS, seed) / "target" for seed in seeds}
    stage = "evaluate"
    return AdaptationRecord(
        scenario=domain.scenario,
        target_source=target_source,
        source_names=source_names,
        target_names=domain.target,
        source=source,
        target=target,
        gap=_optional(folder / GAP, GAP_COLUMNS),
        structures=_optional(folder / STRUCTURES, STRUCTURE_COLUMNS),
        statements=[(str(entry["kind"]), str(entry["text"])) for entry in statements],
        choices={
            seed: read_table(
                run / CHOICES_FILE, stage, CHOICE_COLUMNS, may_be_empty=True
            )
            for seed, run in runs.items()
        } if target else {},
        case=_median_case(list(target), seeds, top) if target else None,
    )  # fmt: skip


def read_image_case(folder: Path, name: str, truth: Path, stage: str) -> TestCase:
    """Find the images of a cropped case, one or two as its record says, and its truth.

    Raises:
        DataError: a file is missing.
    """
    files = read_object(folder / "crop.json", stage).get("files", ("ct", "mr"))
    ct, mr = (
        existing(folder / f"{image}.nii.gz", stage) if image in files else None for image in ("ct", "mr")
    )
    return TestCase(name, ct, mr, existing(truth, stage))


def read_source_case(name: str, top: Path) -> TestCase:
    """Find a labelled single image of the source, on the working grid.

    Raises:
        DataError: a file is missing.
    """
    folder = top / paths.TARGET / SOURCE_CASES / name
    return read_image_case(folder, name, folder / WORKING, "target")


def _median_case(methods: Sequence[str], seeds: Sequence[int], top: Path) -> TargetCase:
    """Take the median by the adapted network's mean Dice (the better one of two), and what is shown of it."""
    shown = [name for name in (LOWER, OURS) if name in methods]
    dice = {name: _dice(name, seeds, top) for name in shown}
    ordered = dice[OURS].sort_index().sort_values(ascending=False, kind="stable")
    name = str(ordered.index[(len(ordered) - 1) // 2])
    folders = {method: paths.of_run(top / paths.EVALUATION, method, seeds[0]) for method in shown}
    return TargetCase(
        read_image_case(
            top / paths.TARGET / TARGET_CASES / name,
            name,
            top / paths.TARGET_LABELS / name / NATIVE,
            "target",
        ),
        {
            method: existing(folder / "target/predictions" / f"{name}.nii.gz", _stage(method))
            for method, folder in folders.items()
        },
        {method: float(values[name]) for method, values in dice.items()},
    )


def _dice(method: str, seeds: Sequence[int], top: Path) -> "pd.Series[float]":
    runs = [paths.of_run(top / paths.EVALUATION, method, seed) / "target/cases.csv" for seed in seeds]
    tables = [read_table(run, _stage(method), CASE_COLUMNS) for run in runs]
    by_seed = [table.groupby("pair")["dice"].mean() for table in tables]
    means: pd.Series[float] = pd.concat(by_seed).groupby("pair").mean()
    return means


def _stage(method: str) -> str:
    return "evaluate-adaptation" if is_adaptation(method) else "evaluate"


def _optional(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    return read_table(path, "compare", columns) if path.exists() else pd.DataFrame(columns=list(columns))


def _estimates(scores: pd.DataFrame) -> Mapping[str, Estimates]:
    found: dict[str, dict[tuple[str, str], Estimate]] = {}
    columns = ["method", "metric", "structure", "mean", "low", "high"]
    for method, metric, structure, mean, low, high in scores[columns].itertuples(index=False):
        if np.isfinite(mean):
            ends = (float(low), float(high)) if np.isfinite([low, high]).all() else (None, None)
            found.setdefault(str(method), {})[str(metric), str(structure)] = Estimate(float(mean), *ends)
    return found
