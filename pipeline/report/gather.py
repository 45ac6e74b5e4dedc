"""Reading the artefacts of the other stages into typed records; what is missing is named with its remedy."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from crossmodalnet.labels import ABBREVIATIONS
from pipeline import paths
from pipeline.errors import DataError
from pipeline.report.records import (
    ATLAS,
    METRICS,
    ROWS,
    Artefacts,
    Estimate,
    Metric,
    Result,
    TestCase,
    Training,
)
from pipeline.split_file import read_split
from pipeline.tables import CASE_COLUMNS, METRICS_KEYS

INTERVAL_COLUMNS = ("metric", "structure", "mean", "low", "high")
CURVE_COLUMNS = ("epoch", "loss", "lr", "val_dice")


def gather(models: Sequence[str], source: str, top: Path = Path()) -> Artefacts:
    """Read everything the report shows.

    Args:
        models: model names as in params.yaml.
        source: `data.source`.
        top: folder that `pipeline.paths` are relative to.

    Raises:
        DataError: an artefact is missing or malformed; names it and the stage that makes it.
    """
    split = read_split(top / paths.SPLIT)
    if not split["test"]:
        raise DataError(f"{top / paths.SPLIT} lists no test pair: raise split.test_fraction")
    registration = _table(top / paths.REGISTRATION_QC / "pairs.csv", "register", ("pair", "role"))
    return Artefacts(
        results=[_read_result(name, split["test"], top) for name in (*models, ATLAS)],
        trainings=[_read_training(name, top) for name in models],
        cases={pair: _find_case(pair, top) for pair in split["test"]},
        registration=registration,
        checkerboards={str(pair): _find_checkerboard(str(pair), top) for pair in registration["pair"]},
        crop=_table(top / paths.CROPPED.with_name("crop_qc.csv"), "crop", ("pair",)),
        split=split,
        source=source,
        params=_existing(top / paths.PARAMS, "").read_text(),
    )


def _existing(path: Path, stage: str) -> Path:
    if not path.is_file():
        raise DataError(f"{path} not found: " + (f"run `dvc repro {stage}`" if stage else "run from the top"))
    return path


def _table(path: Path, stage: str, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV file that must have `columns` and at least one row."""
    try:
        table = pd.read_csv(_existing(path, stage))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a table ({error}): run `dvc repro --force {stage}`") from error
    if missing := [column for column in columns if column not in table]:
        raise DataError(f"{path} lacks {', '.join(missing)}: run `dvc repro --force {stage}`")
    if table.empty:
        raise DataError(f"{path} has no rows: run `dvc repro --force {stage}`")
    return table


def _json(path: Path, stage: str) -> dict[str, Any]:
    try:
        content = json.loads(_existing(path, stage).read_text())
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): run `dvc repro --force {stage}`") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold an object: run `dvc repro --force {stage}`")
    return cast(dict[str, Any], content)


def _read_result(name: str, pairs: Sequence[str], top: Path) -> Result:
    """Read metrics, cases, intervals and predictions of one method, checked against the test pairs."""
    folder = top / paths.EVALUATION / name
    stage = ATLAS if name == ATLAS else "evaluate"
    metrics = _json(top / paths.METRICS / f"{name}.json", stage)
    cases = _table(folder / "cases.csv", stage, CASE_COLUMNS)
    intervals = _table(folder / "intervals.csv", stage, INTERVAL_COLUMNS)
    cases = cases[cases["structure"].isin(ABBREVIATIONS)]
    if absent := sorted(set(pairs) - set(cases["pair"])):
        raise DataError(
            f"{folder / 'cases.csv'} lacks test pairs {', '.join(absent)}: run `dvc repro {stage}`"
        )
    predictions = {pair: _existing(folder / "predictions" / f"{pair}.nii.gz", stage) for pair in pairs}
    estimates = {
        (metric.key, structure): estimate
        for metric in METRICS
        for structure in ROWS
        if (estimate := _estimate(metric, structure, metrics, intervals)) is not None
    }
    counts = (int(metrics.get("n_missed", 0)), int(metrics.get("n_undefined", 0)))
    return Result(name, estimates, cases, *counts, predictions)


def _estimate(
    metric: Metric, structure: str, metrics: Mapping[str, Any], intervals: pd.DataFrame
) -> Estimate | None:
    """Take the mean from the metrics file and the interval from the table; no mean, no estimate."""
    mean = metrics.get(METRICS_KEYS.get(metric.key, metric.key), {}).get(structure)
    if mean is None:
        return None
    rows = intervals[(intervals["metric"] == metric.key) & (intervals["structure"] == structure)]
    if rows.empty or not np.isfinite(rows[["low", "high"]].to_numpy(float)[0]).all():
        return Estimate(float(mean), None, None)
    return Estimate(float(mean), float(rows["low"].iloc[0]), float(rows["high"].iloc[0]))


def _read_training(name: str, top: Path) -> Training:
    curve = _table(top / paths.CURVES / f"{name}.csv", "train", CURVE_COLUMNS)
    return Training(name, curve, _json(top / paths.MODELS / name / "card.json", "train"))


def _find_case(pair: str, top: Path) -> TestCase:
    folder = top / paths.REGISTERED / pair
    ct, mr, truth = (_existing(folder / f"{name}.nii.gz", "register") for name in ("ct", "mr", "ct_label"))
    return TestCase(pair, ct, mr, truth)


def _find_checkerboard(pair: str, top: Path) -> Path:
    return _existing(top / paths.REGISTRATION_QC / "checkerboards" / f"{pair}.png", "register")
