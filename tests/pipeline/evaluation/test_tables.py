import math

import pandas as pd
import pytest

from crossmodalnet.imaging.structures import ABBREVIATIONS
from pipeline.evaluation.score_cases import CASE_COLUMNS, bar_table, headline, interval_table

NAN = float("nan")


def cases(ious: dict[str, list[float]]) -> pd.DataFrame:
    """Two or more pairs in which LV and RV have the given IoUs and all other structures are undefined."""
    rows = []
    for pair, values in ious.items():
        for name, iou in zip(ABBREVIATIONS, values + [NAN] * (7 - len(values)), strict=True):
            absent = math.isnan(iou)
            rows.append(
                (pair, name, 2 * iou / (1 + iou), iou, 10 * iou, iou, iou, 20 * iou, 0, int(absent), 2)
            )
    return pd.DataFrame(rows, columns=list(CASE_COLUMNS))


def means(table: pd.DataFrame, metric: str) -> dict[str, float]:
    rows = interval_table(table, num_samples=200, seed=0)
    return rows[rows["metric"] == metric].set_index("structure")["mean"].to_dict()


def test_miou_is_the_mean_over_structures_then_over_cases() -> None:
    table = cases({"a": [0.2, 0.4], "b": [0.8]})
    # a: 0.3, b: 0.8; over all structures at once it would be 1.4 / 3.
    assert means(table, "iou") == pytest.approx({"mean": 0.55, "LV": 0.5, "RV": 0.4})


def test_intervals_hold_the_mean_and_count_subjects() -> None:
    rows = interval_table(cases({"a": [0.2, 0.4], "b": [0.8], "c": [0.6]}), num_samples=300, seed=0)
    assert ((rows["low"] <= rows["mean"]) & (rows["mean"] <= rows["high"])).all()
    counts = rows[rows["metric"] == "dice"].set_index("structure")["num_subjects"].to_dict()
    assert counts == {"mean": 3, "LV": 3, "RV": 1}


def test_the_headline_is_a_dozen_finite_figures() -> None:
    table = cases({"a": [0.2, 0.4], "b": [0.8]})
    found = headline(table, interval_table(table, num_samples=100, seed=0))
    assert (found["miou"], found["dice"]) == (0.55, 0.6706)  # Dice of an IoU of 0.2 is 1 / 3, and so on
    assert (found["LV"], found["RV"], found["missed"]) == (0.6111, 0.5714, 0)
    assert set(found) == {"dice", "miou", "hd95_mm", "nsd", "LV", "RV", "missed"}


def test_the_headline_of_all_structures_fits_a_row_of_a_screen() -> None:
    table = cases({"a": [1 / 3] * 7, "b": [2 / 3] * 7})
    found = headline(table, interval_table(table, num_samples=100, seed=0))
    assert len(found) == 12
    assert sum(max(len(key), len(str(value))) + 4 for key, value in found.items()) <= 160 - 36


def test_nothing_defined_at_all() -> None:
    table = cases({"a": [], "b": []})
    assert headline(table, interval_table(table, num_samples=100, seed=0)) == {"missed": 0}


def test_bars_have_a_row_per_structure_in_order() -> None:
    table = cases({"a": [0.5] * 7, "b": [0.7] * 7})
    bars = bar_table(interval_table(table, num_samples=100, seed=0))
    assert list(bars.columns) == ["structure", "dice", "iou", "hd95_mm"]
    assert tuple(bars["structure"]) == ABBREVIATIONS
    assert bars["hd95_mm"].tolist() == pytest.approx([6.0] * 7)
