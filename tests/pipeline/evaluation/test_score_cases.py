import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import write_label_map
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.imaging.volume import Volume
from pipeline.config.sections import EvaluateConfig
from pipeline.evaluation.score_cases import (
    CASE_COLUMNS,
    bar_table,
    headline,
    interval_table,
    score_pair,
    write_tables,
)

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


def test_nothing_defined_at_all() -> None:
    table = cases({"a": [], "b": []})
    assert headline(table, interval_table(table, num_samples=100, seed=0)) == {"missed": 0}


def test_bars_have_a_row_per_structure_in_order() -> None:
    table = cases({"a": [0.5] * 7, "b": [0.7] * 7})
    bars = bar_table(interval_table(table, num_samples=100, seed=0))
    assert list(bars.columns) == ["structure", "dice", "iou", "hd95_mm"]
    assert tuple(bars["structure"]) == ABBREVIATIONS
    assert bars["hd95_mm"].tolist() == pytest.approx([6.0] * 7)


AFFINE = np.diag([-1.5, 2.0, 3.0, 1.0])


def write(path: Path, start: int, affine: np.ndarray = AFFINE) -> Path:
    """A label map with an LV of 4 x 4 x 4 voxels that begins at `start`."""
    labels = np.zeros((12, 10, 8), np.uint8)
    labels[start : start + 4, 3:7, 2:6] = 1
    write_label_map(path, Volume(labels, affine))
    return path


def test_files_are_scored_with_the_spacing_of_their_affine(tmp_path: Path) -> None:
    prediction, truth = write(tmp_path / "p.nii.gz", 4), write(tmp_path / "t.nii.gz", 5)
    table = score_pair("ct_1+mr_2", prediction, truth, 2.0).set_index("structure")
    assert table.loc["LV", ["pair", "dice", "missed", "undefined"]].tolist() == ["ct_1+mr_2", 0.75, 0, 0]
    assert table.loc["LV", ["hd95_mm", "betti_error"]].tolist() == pytest.approx([1.5, 0])
    assert table["undefined"].sum() == 6


def test_stray_pieces_are_counted(tmp_path: Path) -> None:
    labels = np.zeros((12, 10, 8), np.uint8)
    labels[1:4, 1:4, 1:4] = 1
    labels[8, 8, 6] = labels[10, 1, 1] = 1
    write_label_map(tmp_path / "p.nii.gz", Volume(labels, AFFINE))
    table = score_pair("a", tmp_path / "p.nii.gz", write(tmp_path / "t.nii.gz", 1), 2.0).set_index(
        "structure"
    )
    assert table["stray"].tolist() == [2, 0, 0, 0, 0, 0, 0]


def test_a_missing_prediction_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ct_1\+mr_2: .*p.nii.gz not found"):
        score_pair("ct_1+mr_2", tmp_path / "p.nii.gz", write(tmp_path / "t.nii.gz", 5), 2.0)


def test_a_damaged_prediction_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "p.nii.gz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"p\.nii\.gz: cannot be read"):
        score_pair("a", tmp_path / "p.nii.gz", write(tmp_path / "t.nii.gz", 5), 2.0)


def test_another_grid_is_an_error(tmp_path: Path) -> None:
    prediction = write(tmp_path / "p.nii.gz", 4, np.diag([1.5, 2.0, 3.0, 1.0]))
    with pytest.raises(DataError, match="not on the grid"):
        score_pair("a", prediction, write(tmp_path / "t.nii.gz", 4), 2.0)


def test_tables_and_metrics_are_written(tmp_path: Path) -> None:
    files = {start: write(tmp_path / f"{start}.nii.gz", start) for start in (2, 4, 5)}
    tables = [score_pair("b", files[4], files[4], 2.0), score_pair("a", files[5], files[4], 2.0)]
    found = write_tables(tmp_path, tables, EvaluateConfig(bootstrap_samples=500))
    # Resampling two subjects, the interval is that of the two values themselves.
    assert found.summary == "mean Dice 0.875 [0.750, 1.000], MIoU 0.800, HD95 0.8 mm over 2 cases"
    cases = pd.read_csv(tmp_path / "cases.csv")
    assert cases["pair"].tolist() == ["a"] * 7 + ["b"] * 7
    assert cases["dice"].isna().sum() == 12
    assert (found.metrics["dice"], found.metrics["LV"]) == (0.875, 0.875)
    intervals = pd.read_csv(tmp_path / "intervals.csv").set_index(["metric", "structure"])
    assert intervals.loc[("iou", "mean"), ["mean", "low", "high"]].tolist() == [0.8, 0.6, 1.0]
    assert pd.read_csv(tmp_path / "bars.csv")["structure"].tolist() == ["LV"]


def test_what_the_truth_does_not_delineate_is_not_scored_whatever_was_predicted(tmp_path: Path) -> None:
    labels = np.zeros((12, 10, 8), np.uint8)
    labels[4:8, 3:7, 2:6] = 1
    labels[0:2] = 7
    write_label_map(tmp_path / "p.nii.gz", Volume(labels, AFFINE))
    truth = write(tmp_path / "t.nii.gz", 4)
    found, ignored = (
        score_pair("a", tmp_path / "p.nii.gz", truth, 2.0, missing=missing) for missing in ((), ("PA",))
    )
    assert found.set_index("structure").loc["PA", ["dice", "missed", "undefined"]].tolist() == [0, 1, 0]
    row = ignored.set_index("structure").loc["PA"]
    assert row[["missed", "undefined"]].tolist() == [0, 1]
    assert np.isnan(row[["dice", "iou", "hd95_mm", "assd_mm", "nsd", "betti_error"]].astype(float)).all()
    folder = tmp_path / "tables"
    folder.mkdir()
    metrics = write_tables(folder, [ignored], EvaluateConfig(bootstrap_samples=100)).metrics
    assert (metrics["dice"], metrics["missed"]) == (1.0, 0)
    assert "PA" not in metrics
