"""From scores per case to the tables and the metrics file of a model."""

import numpy as np
import pandas as pd

from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.metrics.paired import Interval, bootstrap_interval

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
