import math

import numpy as np
import pytest

from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.metrics.scores import METRICS, score_label_map

SPACING = (1.0, 2.0, 3.0)
DIAGONAL = math.sqrt(10**2 + 24**2 + 24**2)


def label_map(*boxes: tuple[int, int]) -> np.ndarray:
    """A 10 x 12 x 8 label map with a 3 x 4 x 2 box of each `(index, start along the first axis)`."""
    labels = np.zeros((10, 12, 8), np.uint8)
    for index, start in boxes:
        labels[start : start + 3, 2:6, 5:7] = index
    return labels


def test_shifted_box() -> None:
    scores = score_label_map(label_map((1, 4)), label_map((1, 5)), SPACING, 0.5).loc["LV"]
    # One of three planes moved by 1 mm. Two planes thick, the box is all surface: 8 of 24 voxels each lie 1 mm from
    # the other.
    expected = {"dice": 2 / 3, "iou": 1 / 2, "hd95_mm": 1, "assd_mm": 1 / 3, "nsd": 2 / 3, "betti_error": 0}
    assert scores[list(expected)].to_dict() == pytest.approx(expected)
    assert scores[["missed", "undefined"]].tolist() == [0, 0]


@pytest.mark.parametrize("swap", [False, True], ids=["structure missed", "structure invented"])
def test_one_mask_empty(swap: bool) -> None:
    with_it, without = label_map((1, 0), (2, 5)), label_map((1, 0))
    pair = (with_it, without) if swap else (without, with_it)
    scores = score_label_map(*pair, SPACING, 2.0)
    assert scores.loc["LV", "dice"] == 1
    found = scores.loc["RV"]
    assert (found.dice, found.iou, found.nsd, found.missed, found.undefined) == (0, 0, 0, True, False)
    assert found.hd95_mm == found.assd_mm == pytest.approx(DIAGONAL)  # of the image, not of a crop
    assert found.betti_error == 1  # the one piece of the box is missing, or too many


def test_topology_of_each_structure_is_compared() -> None:
    prediction, truth = label_map((1, 0), (1, 6), (2, 3)), label_map((1, 0), (2, 3))
    prediction[4, 3:5, 5:7] = 0  # a hole through the RV
    scores = score_label_map(prediction, truth, SPACING, 2.0)
    assert scores.loc[["LV", "RV"], "betti_error"].tolist() == [1, 1]


def test_both_empty_is_undefined() -> None:
    for labels in (label_map((1, 0)), label_map()):
        found = score_label_map(labels, labels, SPACING, 2.0).loc["PA"]
        assert (found.missed, found.undefined) == (0, 1)
        assert found[[metric.key for metric in METRICS]].isna().all()


def test_structures_are_scored_apart_and_in_order() -> None:
    truth = label_map((5, 0), (7, 6))
    scores = score_label_map(label_map((5, 0), (6, 6)), truth, SPACING, 2.0)
    assert tuple(scores.index) == ABBREVIATIONS
    assert scores.loc["Myo", "dice"] == 1
    assert scores.loc[["AO", "PA"], "missed"].tolist() == [1, 1]


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="one shape"):
        score_label_map(np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 1), np.uint8), SPACING, 2.0)
