import math

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric, MeanIoU

from crossmodalnet.metrics.overlap import dice, iou


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
