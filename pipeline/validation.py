"""The score that chooses the checkpoint: mean Dice of the validation pairs on the working grid."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

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


def validate(
    network: nn.Module,
    cases: Sequence[LabelledCase],
    *,
    patch_size: tuple[int, int, int],
    precision: AbstractContextManager[object],
    processes: Processes,
) -> float:
    """Mean over cases of their mean Dice; the cases are shared out among the processes."""
    scores = [0.0] * len(cases)
    with precision:
        for number in range(processes.rank, len(cases), processes.world_size):
            case = cases[number]
            image = case.image.to(processes.device)
            probabilities = predict_probabilities(network, image, patch_size=patch_size, overlap=OVERLAP)
            prediction = probabilities.argmax(0).cpu()
            scores[number] = mean_dice(prediction, case.label, probabilities.shape[0])
    # One process gives a score, the others zeros: the sum does not depend on their number.
    return sum(processes.sum(scores)) / len(cases)
