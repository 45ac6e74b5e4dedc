import pytest
import torch
from torch import nn

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.metrics.overlap import mean_dice
from pipeline.training.processes import Processes
from pipeline.training.trainer import target_entropy, validate

ALONE = Processes(0, 1, 1, torch.device("cpu"))


def test_mean_dice_by_hand():
    truth = torch.tensor([0, 1, 1, 2, 2, 0])
    guess = torch.tensor([0, 1, 0, 2, 2, 3])
    # class 1: 2 / 3; class 2: 1; class 3, absent from the truth: 0; class 4 occurs in neither
    assert mean_dice(guess, truth, 5) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_no_structure_at_all():
    assert mean_dice(torch.zeros(4), torch.zeros(4), 3) == 0


class Reader(nn.Module):
    """Predicts the class that the CT channel holds."""

    def forward(self, image):
        return 50.0 * nn.functional.one_hot(image[:, 0].long(), 8).movedim(-1, 1).float()


def test_what_the_truth_does_not_delineate_does_not_count() -> None:
    guess, truth = torch.tensor([1, 1, 2, 3]), torch.tensor([1, 1, 0, 0])
    assert mean_dice(guess, truth, 4) == pytest.approx(1 / 3)
    assert mean_dice(guess, truth, 4, [2]) == pytest.approx(1 / 2)
    assert mean_dice(guess, truth, 4, [2, 3]) == 1


def test_mean_over_cases_of_any_size():
    label = torch.randint(0, 8, (9, 10, 11), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    right = torch.stack([label.float(), label.float()])
    cases = [LabelledCase("right", right, label), LabelledCase("wrong", torch.zeros_like(right), label)]
    assert validate(Reader(), cases, (6, 6, 6), ALONE) == pytest.approx(0.5)


def test_the_entropy_of_the_target_looks_at_no_label():
    label = torch.randint(0, 8, (8, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    sure = torch.stack([label.float(), label.float()])
    # All classes occur and none is in doubt; where only one occurs, the seven others count as wholly unsure.
    assert target_entropy(Reader(), [LabelledCase("a", sure, label)], (8, 8, 8), ALONE) == pytest.approx(
        0, abs=1e-6
    )
    blank = LabelledCase("b", torch.zeros_like(sure), label)
    assert target_entropy(Reader(), [blank], (8, 8, 8), ALONE) == pytest.approx(7 / 8, abs=1e-6)
