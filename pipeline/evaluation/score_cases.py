"""Score label maps and write the tables of an evaluation."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import read_label_map
from crossmodalnet.imaging.structures import ABBREVIATIONS, STRUCTURES
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.io.console import count
from crossmodalnet.metrics.scores import HEADLINE, METRICS, score_label_map
from crossmodalnet.metrics.statistics import bootstrap_interval
from crossmodalnet.metrics.topology import stray_components
from pipeline.config.sections import EvaluateConfig
from pipeline.runtime.inputs import read_table

CASE_COLUMNS = (
    "pair", "structure", *(metric.key for metric in METRICS), "missed", "undefined", "stray",
)  # fmt: skip
INTERVAL_COLUMNS = ("metric", "structure", "mean", "low", "high", "num_subjects")
MEAN = "mean"
# Keys in the metrics file.
HEADLINE_KEYS = {"iou": "miou"}
HEADLINE_DECIMALS = 4
DECIMALS = 6
# Candidates of an adaptation and their Dice on the target.
CHOICES_FILE = "choices.csv"
CHOICE_COLUMNS = ("epoch", "chosen", "target_dice")
MISREGISTRATION_FILE = "misregistration.csv"
MISREGISTRATION_COLUMNS = ("pair", "moved_mm", "turned_degrees", "dice")


class View(StrEnum):
    """Images of a pair that a network sees; the value is a key in metrics files and a folder name."""

    PAIR = "pair"
    CT_ALONE = "ct_alone"
    MR_ALONE = "mr_alone"

    @property
    def missing_channel(self) -> int | None:
        """Channel of the input `(2, d, h, w)` to remove, or None."""
        return {View.CT_ALONE: 1, View.MR_ALONE: 0}.get(self)


ALONE = (View.CT_ALONE, View.MR_ALONE)
VIEW_TITLES: Mapping[View, str] = MappingProxyType(
    {View.PAIR: "CT + MR", View.CT_ALONE: "CT alone", View.MR_ALONE: "MR alone"}
)


class Evaluation(NamedTuple):
    """Scores for `dvc metrics show`, and a one-line summary."""

    metrics: dict[str, float]
    summary: str


def prediction_file(folder: Path, pair: str) -> Path:
    """Return the path of a pair's label map."""
    return folder / "predictions" / f"{pair}.nii.gz"


def count_stray(labels: Volume) -> list[int]:
    """Count the components of each structure beyond the first."""
    return [stray_components(labels.data == structure.index) for structure in STRUCTURES]


def score_pair(
    pair: str,
    prediction: Path,
    truth: Path,
    nsd_tolerance_mm: float,
    stray: Sequence[int] | None = None,
    missing: Sequence[str] = (),
) -> pd.DataFrame:
    """Score one label map.

    Args:
        prediction: label map with MM-WHS codes, on the grid of the truth.
        nsd_tolerance_mm: surfaces closer than this agree.
        stray: components beyond the first, per structure, before clean-up; None counts them in the label map.
        missing: abbreviations of structures that the truth does not delineate.

    Returns:
        `CASE_COLUMNS`, a row per structure; NaN where a structure is absent from both, or missing.
    """
    predicted, expected = _read(prediction, pair), _read(truth, pair)
    if not predicted.grid.same_as(expected.grid):
        raise DataError(
            f"{pair}: {prediction} {predicted.data.shape} is not on the grid of {truth} {expected.data.shape}"
        )
    scores = score_label_map(predicted.data, expected.data, expected.spacing_mm, nsd_tolerance_mm, missing)
    table = scores.reset_index().assign(pair=pair, stray=count_stray(predicted) if stray is None else stray)
    return table[list(CASE_COLUMNS)]


def write_tables(folder: Path, cases: Iterable[pd.DataFrame], params: EvaluateConfig) -> Evaluation:
    """Write cases.csv and intervals.csv from the tables of `score_pair`."""
    table = pd.concat(list(cases)).sort_values("pair", kind="stable")
    intervals = interval_table(table, num_samples=params.bootstrap_samples, seed=params.seed)
    for name, content in (("cases", table), ("intervals", intervals)):
        content.to_csv(folder / f"{name}.csv", index=False, float_format=f"%.{DECIMALS}f")
    return Evaluation(headline(table, intervals), _summary(table, intervals))


def interval_table(cases: pd.DataFrame, *, num_samples: int, seed: int) -> pd.DataFrame:
    """Average every metric over the cases, with its 95 % bootstrap interval: `INTERVAL_COLUMNS`.

    The `mean` rows average over the defined structures of a case, then over cases; undefined rows are left out.
    """
    rows: list[tuple[object, ...]] = []
    for metric in METRICS:
        by_case = cases.pivot(index="pair", columns="structure", values=metric.key)
        by_case = by_case.reindex(columns=list(ABBREVIATIONS))
        by_case.insert(0, MEAN, by_case.mean(axis=1))
        for structure, column in by_case.items():
            values = column.to_numpy(np.float64)
            if np.isfinite(values).any():
                interval = bootstrap_interval(values, num_samples=num_samples, seed=seed)
                rows.append((metric.key, structure, *interval))
    return pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS))


def headline(cases: pd.DataFrame, intervals: pd.DataFrame) -> dict[str, float]:
    """Select the figures that fit a row of `dvc metrics show`; undefined means are left out.

    IoU, averaged over structures and cases, is known as MIoU.
    """
    means = intervals.set_index(["metric", "structure"])["mean"].round(HEADLINE_DECIMALS)
    rows = {HEADLINE_KEYS.get(metric, metric): (metric, MEAN) for metric in HEADLINE}
    rows |= {name: ("dice", name) for name in ABBREVIATIONS}
    figures = {name: float(means[row]) for name, row in rows.items() if row in means.index}
    return {**figures, "missed": int(cases["missed"].sum())}


def read_misregistration(path: Path) -> pd.DataFrame:
    """Read the misregistration.csv of an evaluation; DataError if it is missing, not a table, or lacks a column."""
    table = read_table(path, "evaluate", MISREGISTRATION_COLUMNS)
    return table.astype({"moved_mm": float, "turned_degrees": float})


def _read(path: Path, pair: str) -> Volume:
    if not path.is_file():
        raise DataError(f"{pair}: {path} not found: every test pair needs a label map to be scored")
    try:
        return read_label_map(path)
    except ValueError as error:
        raise DataError(f"{pair}: {error}") from error


def _summary(cases: pd.DataFrame, intervals: pd.DataFrame) -> str:
    means = intervals[intervals["structure"] == MEAN].set_index("metric")
    if means.empty:
        return f"no structure in any of {count(cases['pair'].nunique(), 'case')}"
    dice, low, high = (float(means[column]["dice"]) for column in ("mean", "low", "high"))
    return (
        f"mean Dice {dice:.3f} [{low:.3f}, {high:.3f}], MIoU {float(means['mean']['iou']):.3f}, "
        f"HD95 {float(means['mean']['hd95_mm']):.1f} mm over {count(cases['pair'].nunique(), 'case')}"
    )
