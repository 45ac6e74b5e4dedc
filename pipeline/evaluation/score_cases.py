"""Scores of label maps against the true ones, and the tables of an evaluation."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import read_label_map
from crossmodalnet.imaging.structures import ABBREVIATIONS, STRUCTURES
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.metrics.scores import UNDEFINED, score_label_map
from crossmodalnet.metrics.statistics import Interval, bootstrap_interval
from crossmodalnet.metrics.topology import stray_components
from pipeline.config.sections import EvaluateConfig

METRICS = ("dice", "iou", "hd95_mm", "assd_mm", "nsd", "betti_error")
CASE_COLUMNS = ("pair", "structure", *METRICS, "missed", "undefined", "stray")
MEAN = "mean"
# The mean over structures and cases of the intersection over union is known as MIoU.
METRICS_KEYS = {"iou": "miou"}
DECIMALS = 6
HEADLINE_DECIMALS = 4
HEADLINE = ("dice", "iou", "hd95_mm", "nsd")
# Weights that an adaptation could have kept, and how good each is on the target.
CHOICES_FILE = "choices.csv"
CHOICE_COLUMNS = ("epoch", "chosen", "target_dice")
# Mean Dice of every pair with its MR displaced against its CT.
MISREGISTRATION_FILE = "misregistration.csv"
MISREGISTRATION_COLUMNS = ("pair", "moved_mm", "turned_degrees", "dice")


def interval_table(cases: pd.DataFrame, *, num_samples: int, seed: int) -> pd.DataFrame:
    """Average every metric over the cases, with its 95 % bootstrap interval.

    The mean of a case is that over its defined structures; the `mean` rows average these over cases.

    Args:
        cases: `CASE_COLUMNS`, a row per pair and structure, undefined scores NaN.
        num_samples: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        Columns metric, structure (or `mean`), mean, low, high, num_subjects; no row without any value.
    """
    rows: list[tuple[str, str, float, float, float, int]] = []
    for metric in METRICS:
        by_case = cases.pivot(index="pair", columns="structure", values=metric).reindex(
            columns=list(ABBREVIATIONS)
        )
        by_case.insert(0, MEAN, by_case.mean(axis=1))
        for structure in (MEAN, *ABBREVIATIONS):
            values = by_case[structure].to_numpy(np.float64)
            if np.isfinite(values).any():
                found: Interval = bootstrap_interval(values, num_samples=num_samples, seed=seed)
                rows.append((metric, structure, found.mean, found.low, found.high, found.num_subjects))
    columns = ["metric", "structure", "mean", "low", "high", "num_subjects"]
    return pd.DataFrame(rows, columns=columns)


def bar_table(intervals: pd.DataFrame) -> pd.DataFrame:
    """Lay the means per structure side by side for DVC's bar plots: structure, dice, iou, hd95_mm."""
    wide = intervals.pivot(index="structure", columns="metric", values="mean")
    present = [structure for structure in ABBREVIATIONS if structure in wide.index]
    return wide.reindex(index=present, columns=["dice", "iou", "hd95_mm"]).reset_index()


def headline(cases: pd.DataFrame, intervals: pd.DataFrame) -> dict[str, float]:
    """Pick what `dvc metrics show` prints: a dozen figures, so that a row fits a screen; the rest is in the tables.

    Args:
        cases: `CASE_COLUMNS`.
        intervals: intervals that `interval_table` gave.

    Returns:
        Means over structures and cases of Dice, IoU (MIoU), HD95 and NSD, the mean Dice of each structure, and how many
        structures were missed; a mean that is undefined is left out.
    """
    means = intervals.set_index(["metric", "structure"])["mean"].round(HEADLINE_DECIMALS)
    overall = {METRICS_KEYS.get(metric, metric): (metric, MEAN) for metric in HEADLINE}
    by_structure = {name: ("dice", name) for name in ABBREVIATIONS}
    shown = {**overall, **by_structure}
    found = {name: float(means[row]) for name, row in shown.items() if row in means.index}
    return {**found, "missed": int(cases["missed"].sum())}


def prediction_file(folder: Path, pair: str) -> Path:
    """Where an evaluation folder keeps the label map of a pair."""
    return folder / "predictions" / f"{pair}.nii.gz"


def count_stray(labels: Volume) -> list[int]:
    """Count per structure the pieces beyond the first, before they are removed: how much there was to clean up."""
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
        stray: pieces beyond the first, of each structure; counted in the label map where None.
        missing: abbreviations of structures that the truth does not delineate, whatever the prediction holds.

    Returns:
        `CASE_COLUMNS`, a row per structure; NaN where a structure is absent from both, or missing.

    Raises:
        DataError: a file is missing or unreadable, or the grids differ.
    """
    found, expected = _read(prediction, pair), _read(truth, pair)
    if not found.grid.same_as(expected.grid):
        raise DataError(
            f"{pair}: {prediction} {found.data.shape} is not on the grid of {truth} {expected.data.shape}"
        )
    scores = score_label_map(found.data, expected.data, expected.spacing_mm, nsd_tolerance_mm)
    scores |= dict.fromkeys(missing, UNDEFINED)
    counts = count_stray(found) if stray is None else stray
    rows = [
        {"pair": pair, "structure": name, **asdict(score), "stray": count}
        for (name, score), count in zip(scores.items(), counts, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(CASE_COLUMNS)).astype({"missed": int, "undefined": int})


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model or of the atlas.

    Attributes:
        cases: `CASE_COLUMNS`, a row per case and structure.
        intervals: intervals that `interval_table` makes of the cases.
    """

    cases: pd.DataFrame
    intervals: pd.DataFrame

    @property
    def metrics(self) -> dict[str, float]:
        """What `dvc metrics show` prints."""
        return headline(self.cases, self.intervals)

    @property
    def summary(self) -> str:
        """The result in one line."""
        return _summarise(self.cases, self.intervals)


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
    return Evaluation(table, intervals)


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
