"""Scores of label maps against the true ones, and the tables of an evaluation."""

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
from crossmodalnet.metrics.scores import METRICS, score_label_map
from crossmodalnet.metrics.statistics import bootstrap_interval
from crossmodalnet.metrics.topology import stray_components
from pipeline.config.sections import EvaluateConfig

CASE_COLUMNS = (
    "pair", "structure", *(metric.key for metric in METRICS), "missed", "undefined", "stray",
)  # fmt: skip
INTERVAL_COLUMNS = ("metric", "structure", "mean", "low", "high", "num_subjects")
MEAN = "mean"
# Metrics in the metrics file and the summary. The mean of IoU over structures and cases is known as MIoU.
HEADLINE = ("dice", "iou", "hd95_mm", "nsd")
HEADLINE_KEYS = {"iou": "miou"}
HEADLINE_DECIMALS = 4
DECIMALS = 6
# Weights that an adaptation could have kept, and their Dice on the target.
CHOICES_FILE = "choices.csv"
CHOICE_COLUMNS = ("epoch", "chosen", "target_dice")
# Mean Dice of every pair with its MR shifted and rotated against its CT.
MISREGISTRATION_FILE = "misregistration.csv"
MISREGISTRATION_COLUMNS = ("pair", "moved_mm", "turned_degrees", "dice")


class View(StrEnum):
    """Images of a pair that a network sees; the value is its key in metrics files and the name of its folder."""

    PAIR = "pair"
    CT_ALONE = "ct_alone"
    MR_ALONE = "mr_alone"

    @property
    def missing_channel(self) -> int | None:
        """Channel of the input `(2, d, h, w)` that is taken out; None: neither."""
        return {View.CT_ALONE: 1, View.MR_ALONE: 0}.get(self)


ALONE = (View.CT_ALONE, View.MR_ALONE)
VIEW_TITLES: Mapping[View, str] = MappingProxyType(
    {View.PAIR: "CT + MR", View.CT_ALONE: "CT alone", View.MR_ALONE: "MR alone"}
)


class Evaluation(NamedTuple):
    """Scores of a model or of the atlas: what `dvc metrics show` prints, and a summary in one line."""

    metrics: dict[str, float]
    summary: str


def prediction_file(folder: Path, pair: str) -> Path:
    """Give the path of a pair's label map in an evaluation folder."""
    return folder / "predictions" / f"{pair}.nii.gz"


def count_stray(labels: Volume) -> list[int]:
    """Count per structure the pieces beyond the first one."""
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
        pair: name of the pair.
        prediction: label map with MM-WHS codes, on the CT grid.
        truth: label map of the CT, or of what else the network was shown.
        nsd_tolerance_mm: surfaces closer than this agree.
        stray: pieces beyond the first, of each structure, before clean-up; counted in the label map where None.
        missing: abbreviations of structures that the truth does not delineate, whatever the prediction holds.

    Returns:
        `CASE_COLUMNS`, a row per structure; NaN where a structure is absent from both, or missing.

    Raises:
        DataError: a file is missing or unreadable, or the grids differ.
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
    """Write cases.csv, intervals.csv and bars.csv.

    Args:
        folder: folder of the evaluation.
        cases: tables of `score_pair`.
        params: bootstrap samples and seed.
    """
    table = pd.concat(list(cases)).sort_values("pair", kind="stable")
    intervals = interval_table(table, num_samples=params.bootstrap_samples, seed=params.seed)
    for name, content in (("cases", table), ("intervals", intervals), ("bars", bar_table(intervals))):
        content.to_csv(folder / f"{name}.csv", index=False, float_format=f"%.{DECIMALS}f")
    return Evaluation(headline(table, intervals), _summary(table, intervals))


def interval_table(cases: pd.DataFrame, *, num_samples: int, seed: int) -> pd.DataFrame:
    """Average every metric over the cases, with its 95 % bootstrap interval.

    The mean of a case is that over its defined structures; the `mean` rows average these over cases.

    Args:
        cases: `CASE_COLUMNS`, a row per pair and structure, undefined scores NaN.
        num_samples: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        `INTERVAL_COLUMNS`, structure or `mean`; no row without any value.
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


def bar_table(intervals: pd.DataFrame) -> pd.DataFrame:
    """Lay the means per structure side by side for DVC's bar plots: structure, dice, iou, hd95_mm."""
    wide = intervals.pivot(index="structure", columns="metric", values="mean")
    present = [structure for structure in ABBREVIATIONS if structure in wide.index]
    return wide.reindex(index=present, columns=["dice", "iou", "hd95_mm"]).reset_index()


def headline(cases: pd.DataFrame, intervals: pd.DataFrame) -> dict[str, float]:
    """Pick a dozen figures for `dvc metrics show`, so that a row fits a screen.

    Args:
        cases: `CASE_COLUMNS`.
        intervals: `INTERVAL_COLUMNS`.

    Returns:
        Means over structures and cases of Dice, IoU (MIoU), HD95 and NSD, the mean Dice of each structure, and how many
        structures were missed; a mean that is undefined is left out.
    """
    means = intervals.set_index(["metric", "structure"])["mean"].round(HEADLINE_DECIMALS)
    rows = {HEADLINE_KEYS.get(metric, metric): (metric, MEAN) for metric in HEADLINE}
    rows |= {name: ("dice", name) for name in ABBREVIATIONS}
    figures = {name: float(means[row]) for name, row in rows.items() if row in means.index}
    return {**figures, "missed": int(cases["missed"].sum())}


def read_misregistration(path: Path) -> pd.DataFrame:
    """Read the misregistration.csv of an evaluation.

    Raises:
        DataError: it is not a table, or lacks a column.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): run `dvc repro evaluate`") from error
    if missing := [column for column in MISREGISTRATION_COLUMNS if column not in table.columns]:
        raise DataError(f"{path} lacks {', '.join(missing)}: run `dvc repro --force evaluate`")
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
        return f"no structure in any of {cases['pair'].nunique()} cases"
    dice, low, high = (float(means[column]["dice"]) for column in ("mean", "low", "high"))
    return (
        f"mean Dice {dice:.3f} [{low:.3f}, {high:.3f}], MIoU {float(means['mean']['iou']):.3f}, "
        f"HD95 {float(means['mean']['hd95_mm']):.1f} mm over {cases['pair'].nunique()} cases"
    )
