"""Scores of predicted label maps against the CT labels, on the original CT grids."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from crossmodalnet.imaging.nifti import read_label_map
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.metrics.scores import score_label_map
from pipeline.errors import DataError
from pipeline.outputs import write_json
from pipeline.params.evaluate import EvaluateParams
from pipeline.tables import CASE_COLUMNS, DECIMALS, MEAN, bar_table, interval_table, metrics_content


def prediction_file(folder: Path, pair: str) -> Path:
    """Where an evaluation folder keeps the label map of a pair."""
    return folder / "predictions" / f"{pair}.nii.gz"


def score_pair(pair: str, prediction: Path, truth: Path, nsd_tolerance_mm: float) -> pd.DataFrame:
    """Score one label map.

    Args:
        pair: its name.
        prediction: label map with MM-WHS codes, on the CT grid.
        truth: label map of the CT.
        nsd_tolerance_mm: surfaces closer than this agree.

    Returns:
        `CASE_COLUMNS`, a row per structure; NaN where a structure is absent from both.

    Raises:
        DataError: a file is missing or unreadable, or the grids differ.
    """
    found, expected = _read(prediction, pair), _read(truth, pair)
    if not found.grid.same_as(expected.grid):
        raise DataError(
            f"{pair}: {prediction} {found.data.shape} is not on the grid of {truth} {expected.data.shape}"
        )
    scores = score_label_map(found.data, expected.data, expected.spacing_mm, nsd_tolerance_mm)
    rows = [{"pair": pair, "structure": name, **asdict(score)} for name, score in scores.items()]
    return pd.DataFrame(rows, columns=list(CASE_COLUMNS)).astype({"missed": int, "undefined": int})


def write_evaluation(
    folder: Path, metrics: Path, cases: Iterable[pd.DataFrame], params: EvaluateParams
) -> str:
    """Write cases.csv, intervals.csv and bars.csv into `folder`, and the metrics file.

    Args:
        folder: of the evaluation.
        metrics: JSON file to write.
        cases: tables of `score_pair`.
        params: bootstrap samples and seed.

    Returns:
        The result in one line.
    """
    table = pd.concat(list(cases)).sort_values("pair", kind="stable")
    intervals = interval_table(table, num_samples=params.bootstrap_samples, seed=params.seed)
    for name, content in (("cases", table), ("intervals", intervals), ("bars", bar_table(intervals))):
        content.to_csv(folder / f"{name}.csv", index=False, float_format=f"%.{DECIMALS}f")
    write_json(metrics, metrics_content(table, intervals))
    return _summarise(table, intervals)


def _read(path: Path, pair: str) -> Volume:
    if not path.is_file():
        raise DataError(f"{pair}: {path} not found: every test pair needs a label map to be scored")
    try:
        return read_label_map(path)
    except ValueError as error:
        raise DataError(f"{pair}: {error}") from error


def _summarise(cases: pd.DataFrame, intervals: pd.DataFrame) -> str:
    means = intervals[intervals["structure"] == MEAN].set_index("metric")
    if means.empty:
        return f"no structure in any of {cases['pair'].nunique()} cases"
    dice, low, high = (float(means[column]["dice"]) for column in ("mean", "low", "high"))
    return (
        f"mean Dice {dice:.3f} [{low:.3f}, {high:.3f}], MIoU {float(means['mean']['iou']):.3f}, "
        f"HD95 {float(means['mean']['hd95_mm']):.1f} mm over {cases['pair'].nunique()} cases"
    )
