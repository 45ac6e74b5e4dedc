from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import write_label_map
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.metrics.scores import METRICS
from pipeline.config.sections import EvaluateConfig
from pipeline.evaluation import score_cases
from pipeline.evaluation.score_cases import headline, score_pair, write_tables


def tables_of(**ious: list[float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and intervals of pairs with these IoUs of LV, RV, ...; all other structures are undefined."""
    rows = []
    for pair, values in ious.items():
        for name, iou in zip(ABBREVIATIONS, [*values, *[np.nan] * (7 - len(values))], strict=True):
            known = {"dice": 2 * iou / (1 + iou), "hd95_mm": 10 * iou, "betti_error": 20 * iou}
            scores = [known.get(metric.key, iou) for metric in METRICS]
            rows.append((pair, name, *scores, 0, int(np.isnan(iou)), 2))
    cases = pd.DataFrame(rows, columns=list(score_cases.CASE_COLUMNS))
    return cases, score_cases.interval_table(cases, num_samples=200, seed=0)


def test_miou_is_the_mean_over_structures_then_over_cases() -> None:
    _, intervals = tables_of(a=[0.2, 0.4], b=[0.8])
    means = intervals[intervals["metric"] == "iou"].set_index("structure")["mean"].to_dict()
    # a: 0.3, b: 0.8; over all structures at once it would be 1.4 / 3.
    assert means == pytest.approx({"mean": 0.55, "LV": 0.5, "RV": 0.4})


def test_intervals_hold_the_mean_and_count_subjects() -> None:
    _, rows = tables_of(a=[0.2, 0.4], b=[0.8], c=[0.6])
    assert ((rows["low"] <= rows["mean"]) & (rows["mean"] <= rows["high"])).all()
    counts = rows[rows["metric"] == "dice"].set_index("structure")["num_subjects"].to_dict()
    assert counts == {"mean": 3, "LV": 3, "RV": 1}


def test_the_headline_has_rounded_means() -> None:
    found = headline(*tables_of(a=[0.2, 0.4], b=[0.8]))
    # The Dice of an IoU of 0.2 is 1 / 3, and so on.
    expected = {"dice": 0.6706, "miou": 0.55, "LV": 0.6111, "RV": 0.5714, "missed": 0}
    assert found.items() >= (expected | {"hd95_mm": 5.5, "nsd": 0.55}).items()


def test_nothing_defined_at_all() -> None:
    assert headline(*tables_of(a=[], b=[])) == {"missed": 0}


AFFINE = np.diag([-1.5, 2.0, 3.0, 1.0])


def heart(start: int) -> np.ndarray:
    """A label map with an LV of 4 x 4 x 4 voxels that begins at `start`."""
    labels = np.zeros((12, 10, 8), np.uint8)
    labels[start : start + 4, 3:7, 2:6] = 1
    return labels


@pytest.fixture
def score(tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Score label maps, which are written to files; None writes no prediction."""

    def write_and_score(prediction, truth, name="a", affine=AFFINE, **options):
        if prediction is not None:
            write_label_map(tmp_path / "p.nii.gz", Volume(prediction, affine))
        write_label_map(tmp_path / "t.nii.gz", Volume(truth, AFFINE))
        return score_pair(name, tmp_path / "p.nii.gz", tmp_path / "t.nii.gz", 2.0, **options)

    return write_and_score


def test_files_are_scored_with_the_spacing_of_their_affine(score) -> None:
    table = score(heart(4), heart(5), "ct_1+mr_2").set_index("structure")
    assert table.loc["LV", ["pair", "dice", "missed", "undefined"]].tolist() == ["ct_1+mr_2", 0.75, 0, 0]
    assert table.loc["LV", ["hd95_mm", "betti_error"]].tolist() == pytest.approx([1.5, 0])
    assert table["undefined"].sum() == 6


def test_stray_pieces_are_counted(score) -> None:
    labels = heart(1)
    labels[8, 8, 6] = labels[10, 1, 1] = 1
    assert score(labels, heart(1))["stray"].tolist() == [2, 0, 0, 0, 0, 0, 0]


def test_a_missing_or_damaged_prediction_is_an_error(tmp_path: Path, score) -> None:
    with pytest.raises(DataError, match=r"ct_1\+mr_2: .*p.nii.gz not found"):
        score(None, heart(5), "ct_1+mr_2")
    (tmp_path / "p.nii.gz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"p\.nii\.gz: cannot be read"):
        score(None, heart(5))


def test_another_grid_is_an_error(score) -> None:
    with pytest.raises(DataError, match="not on the grid"):
        score(heart(4), heart(4), affine=np.diag([1.5, 2.0, 3.0, 1.0]))


def test_tables_and_metrics_are_written(tmp_path: Path, score) -> None:
    tables = [score(heart(4), heart(4), "b"), score(heart(5), heart(4), "a")]
    found = write_tables(tmp_path, tables, EvaluateConfig(bootstrap_samples=500))
    # Resampling two subjects, the interval is that of the two values themselves.
    assert found.summary == "mean Dice 0.875 [0.750, 1.000], MIoU 0.800, HD95 0.8 mm over 2 cases"
    cases = pd.read_csv(tmp_path / "cases.csv")
    assert cases["pair"].tolist() == ["a"] * 7 + ["b"] * 7
    assert cases["dice"].isna().sum() == 12
    assert (found.metrics["dice"], found.metrics["LV"]) == (0.875, 0.875)
    intervals = pd.read_csv(tmp_path / "intervals.csv").set_index(["metric", "structure"])
    assert intervals.loc[("iou", "mean"), ["mean", "low", "high"]].tolist() == [0.8, 0.6, 1.0]


def test_what_the_truth_does_not_delineate_is_not_scored_whatever_was_predicted(tmp_path, score) -> None:
    labels = heart(4)
    labels[0:2] = 7
    found, ignored = (score(labels, heart(4), missing=missing) for missing in ((), ("PA",)))
    assert found.set_index("structure").loc["PA", ["dice", "missed", "undefined"]].tolist() == [0, 1, 0]
    row = ignored.set_index("structure").loc["PA"]
    assert row[["missed", "undefined"]].tolist() == [0, 1]
    assert np.isnan(row[["dice", "iou", "hd95_mm", "assd_mm", "nsd", "betti_error"]].astype(float)).all()
    metrics = write_tables(tmp_path, [ignored], EvaluateConfig(bootstrap_samples=100)).metrics
    assert (metrics["dice"], metrics["missed"]) == (1.0, 0)
    assert "PA" not in metrics
