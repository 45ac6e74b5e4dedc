import pytest
import torch

from crossmodalnet.training.adaptation.adapter import prototype_distance

# Class means (0, 0), (6, 0) and (0, 8): distances 6, 8 and 10, mean 8.
SOURCE = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [6.0, 0.0], [0.0, 8.0]])
CLASSES = torch.tensor([0, 0, 1, 2])


def test_by_hand() -> None:
    target = torch.tensor([[0.0, 2.0], [6.0, 6.0], [6.0, 6.0], [9.0, 9.0]])
    # Class 0 is 2 away, class 1 is 6 away, class 3 is not in the source: mean 4.
    found = prototype_distance(SOURCE, CLASSES, target, torch.tensor([0, 1, 1, 3]), 5)
    assert found.item() == pytest.approx(4 / 8)
    scaled = prototype_distance(10 * SOURCE - 3, CLASSES, 10 * target - 3, torch.tensor([0, 1, 1, 3]), 5)
    assert scaled.item() == pytest.approx(4 / 8)


def test_zero_for_equal_means_whatever_the_sizes_of_the_classes() -> None:
    found = prototype_distance(
        SOURCE, CLASSES, SOURCE.repeat_interleave(3, 0), CLASSES.repeat_interleave(3), 3
    )
    assert found.item() == 0


def test_nothing_to_compare_is_nan() -> None:
    target = torch.ones(2, 2)
    assert prototype_distance(SOURCE, CLASSES, target, torch.tensor([3, 4]), 5).isnan()
    assert prototype_distance(SOURCE[:2], CLASSES[:2], target, torch.tensor([0, 0]), 5).isnan()
    assert prototype_distance(SOURCE, CLASSES, target[:0], CLASSES[:0], 5).isnan()
    assert prototype_distance(SOURCE[:0], CLASSES[:0], target, torch.tensor([0, 1]), 5).isnan()
