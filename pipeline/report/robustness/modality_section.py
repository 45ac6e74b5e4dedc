"""What section Summary shows of networks that can do without a modality: a small table each."""

from collections.abc import Mapping, Sequence
from typing import Any

from crossmodalnet.metrics.scores import Metric
from pipeline.comparison.titles import title_of
from pipeline.evaluation.score_cases import VIEW_TITLES, View
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Estimate
from pipeline.report.charts.drawing import metric_of
from pipeline.report.charts.standing import MEAN_TITLES
from pipeline.report.charts.tables import DASH, Table, format_interval, format_value
from pipeline.report.comparison.section import signed

SHOWN = ("dice", "iou", "hd95_mm", "nsd")


def modality_tables(artefacts: Artefacts) -> Sequence[tuple[str, Table]]:
    """Print what each network makes of the pair and of either modality alone.

    Returns:
        Title of the network and its table, a row per view; nothing where no network can do without a modality.
    """
    found = artefacts.comparison.modalities
    if found is None:
        return []
    tables = []
    for method, own in found.groupby("method", sort=False):
        rows = {(row["view"], row["metric"]): row for row in own.to_dict("records")}
        tables.append((title_of(str(method)), _table(rows)))
    return tables


def _table(rows: Mapping[tuple[Any, Any], Mapping[Any, Any]]) -> Table:
    metrics = [metric_of(key) for key in SHOWN]
    headings = ["The network sees", "Dice", "95 % interval", *(_heading(metric) for metric in metrics[1:])]
    headings += ["Dice against CT + MR", "95 % interval"]
    printed = []
    for view in View:
        cells = [_estimate(rows.get((view.value, metric.key)), metric) for metric in metrics]
        (dice, ends), *others = cells
        change = _change(rows.get((view.value, SHOWN[0])))
        printed.append([VIEW_TITLES[view], dice, ends, *(mean for mean, _ in others), *change])
    return Table(headings, [False] + [True] * (len(headings) - 1), printed)


def _heading(metric: Metric) -> str:
    return f"{MEAN_TITLES.get(metric.key, metric.title)}{f', {metric.unit}' if metric.unit else ''}"


def _estimate(row: Mapping[Any, Any] | None, metric: Metric) -> tuple[str, str]:
    if row is None:
        return DASH, DASH
    found = Estimate(row["mean"], row["low"], row["high"])
    return format_value(found.mean, metric), format_interval(found, metric)


def _change(row: Mapping[Any, Any] | None) -> list[str]:
    if row is None or row["difference"] != row["difference"]:
        return [DASH, DASH]
    metric = metric_of(SHOWN[0])
    low, high = (signed(float(row[f"difference_{end}"]), metric) for end in ("low", "high"))
    return [signed(float(row["difference"]), metric), f"{low} to {high}"]
