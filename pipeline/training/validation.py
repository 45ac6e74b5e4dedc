"""What chooses the checkpoint: mean Dice of the validation pairs on the working grid, and the target's entropy."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor, nn

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.metrics.overlap import mean_dice
from crossmodalnet.networks.common.sliding_window import predict_probabilities
from crossmodalnet.training.adaptation.common.entropy import balanced_entropy
from pipeline.training.distributed import Processes

OVERLAP = 0.25


@dataclass(frozen=True)
class ValidationSettings:
    """How a network sees cases.

    Attributes:
        patch_size: voxels that the network sees at once.
        precision: precision of the forward passes.
        processes: processes among which the cases are shared out.
    """

    patch_size: tuple[int, int, int]
    precision: Callable[[], AbstractContextManager[object]]
    processes: Processes


def validate(network: nn.Module, cases: Sequence[LabelledCase], settings: ValidationSettings) -> float:
    """Mean over cases of their mean Dice."""

    def dice(case: LabelledCase, probabilities: Tensor) -> float:
        return mean_dice(probabilities.argmax(0).cpu(), case.label, probabilities.shape[0])

    return _mean_over_cases(dice, network, cases, settings)


def target_entropy(network: nn.Module, cases: Sequence[LabelledCase], settings: ValidationSettings) -> float:
    """Mean over images of how unsure the network is of them, 0 to 1; their labels are not looked at."""
    return _mean_over_cases(
        lambda _, probabilities: balanced_entropy(probabilities), network, cases, settings
    )


def _mean_over_cases(
    score: Callable[[LabelledCase, Tensor], float],
    network: nn.Module,
    cases: Sequence[LabelledCase],
    settings: ValidationSettings,
) -> float:
    processes, scores = settings.processes, [0.0] * len(cases)
    with settings.precision():
        for number in range(processes.rank, len(cases), processes.world_size):
            image = cases[number].image.to(processes.device)
            probabilities = predict_probabilities(
                network, image, patch_size=settings.patch_size, overlap=OVERLAP
            )
            scores[number] = score(cases[number], probabilities)
    # One process gives a score, the others zeros: the sum does not depend on their number.
    return sum(processes.sum(scores)) / len(cases)
