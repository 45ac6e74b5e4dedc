import math

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric, MeanIoU

from crossmodalnet.metrics.overlap import dice, iou


def box(*sides: slice) -> np.ndarray:
    mask = np.zeros((9, 10, 11), bool)
    mask[sides] = True
    return mask


def test_boxes_shifted_by_one_voxel() -> None:
    a = box(slice(2, 6), slice(3, 5), slice(4, 7))  # 4 x 2 x 3 voxels
    b = np.roll(a, 1, axis=0)  # 3 of the 4 planes in common
    assert dice(a, b) == pytest.approx(0.75)
    assert iou(a, b) == pytest.approx(3 / 5)


def test_nested_and_disjoint() -> None:
    inner, outer = box(slice(2, 3), slice(2, 3), slice(2, 3)), box(slice(2, 4), slice(2, 4), slice(2, 3))
    assert (dice(inner, outer), iou(inner, outer)) == (pytest.approx(2 / 5), pytest.approx(1 / 4))
    assert dice(inner, np.roll(inner, 1, axis=0)) == iou(inner, np.roll(inner, 1, axis=0)) == 0


@pytest.mark.parametrize("metric", [dice, iou])
def test_empty_masks(metric) -> None:
    empty, full = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    assert metric(empty, full) == metric(full, empty) == 0
    assert math.isnan(metric(empty, empty))


def test_agrees_with_monai() -> None:
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.9):
        a, b = rng.random((7, 8, 9)) < share, rng.random((7, 8, 9)) < 0.4
        one_hot = [torch.from_numpy(mask)[None, None].float() for mask in (a, b)]
        assert dice(a, b) == pytest.approx(DiceMetric()(*one_hot).item(), abs=1e-6)
        assert iou(a, b) == pytest.approx(MeanIoU()(*one_hot).item(), abs=1e-6)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(2, 2, 2\) and \(2, 2, 3\)"):
        dice(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool))
