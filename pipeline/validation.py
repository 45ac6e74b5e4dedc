"""What chooses the checkpoint: mean Dice of the validation pairs on the working grid, and the target's entropy."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossmodalnet.adaptation.entropy import balanced_entropy
from crossmodalnet.data.dataset import LabelledCase
from crossmodalnet.inference import predict_probabilities
from pipeline.distributed import Processes

OVERLAP = 0.25


def mean_dice(prediction: Tensor, truth: Tensor, num_classes: int) -> float:
    """Mean Dice over the structures that occur in either label map, background aside; 0 where none does.

    Args:
        prediction: class indices, any shape.
        truth: class indices of the same shape.
        num_classes: background included.
    """
    pairs = truth.flatten().long() * num_classes + prediction.flatten().long()
    counts = torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes).double()
    sizes = (counts.sum(0) + counts.sum(1))[1:]
    dice = 2 * counts.diagonal()[1:] / sizes.clamp_min(1)
    present = sizes > 0
    return float(dice[present].mean()) if present.any() else 0.0


@dataclass(frozen=True)
class Where:
    """How a network sees cases.

    Attributes:
        patch_size: voxels that it sees at once.
        precision: of its forward passes.
        processes: among which the cases are shared out.
    """

    patch_size: tuple[int, int, int]
    precision: Callable[[], AbstractContextManager[object]]
    processes: Processes


def validate(network: nn.Module, cases: Sequence[LabelledCase], where: Where) -> float:
    """Mean over cases of their mean Dice."""

    def dice(case: LabelledCase, probabilities: Tensor) -> float:
        return mean_dice(probabilities.argmax(0).cpu(), case.label, probabilities.shape[0])

    return _mean_over_cases(dice, network, cases, where)


def target_entropy(network: nn.Module, cases: Sequence[LabelledCase], where: Where) -> float:
    """Mean over images of how unsure the network is of them, 0 to 1; their labels are not looked at."""
    return _mean_over_cases(lambda _, probabilities: balanced_entropy(probabilities), network, cases, where)


def _mean_over_cases(
    score: Callable[[LabelledCase, Tensor], float],
    network: nn.Module,
    cases: Sequence[LabelledCase],
    where: Where,
) -> float:
    processes, scores = where.processes, [0.0] * len(cases)
    with where.precision():
        for number in range(processes.rank, len(cases), processes.world_size):
            image = cases[number].image.to(processes.device)
            probabilities = predict_probabilities(
                network, image, patch_size=where.patch_size, overlap=OVERLAP
            )
            scores[number] = score(cases[number], probabilities)
    # One process gives a score, the others zeros: the sum does not depend on their number.
    return sum(processes.sum(scores)) / len(cases)
