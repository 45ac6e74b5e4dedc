"""What is minimised beside the balanced objectives: nothing, unless a training asks for more."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class TargetBatch:
    """Samples of the target domain, of a step that sees it.

    Attributes:
        image: `(t, 2, d, h, w)`; there is no label.
        number: number that `target_batch_number` gave for the step.
    """

    image: Tensor
    number: int

    def to(self, device: torch.device) -> "TargetBatch":
        """The same on a device."""
        return TargetBatch(self.image.to(device, non_blocking=True), self.number)


@dataclass(frozen=True)
class StepInput:
    """What an extra objective may look at in a step, on the device of the process.

    Attributes:
        image: images of the labelled samples, `(b, 2, d, h, w)`.
        label: labels of the labelled samples, `(b, d, h, w)`.
        target: samples of the target domain in this step; None where the step is of the source alone.
        number: number of the step in the whole training.
        progress: share of the training that is done, 0 to 1.
    """

    image: Tensor
    label: Tensor
    target: TargetBatch | None
    number: int
    progress: float


@dataclass(frozen=True)
class ObjectiveTerms:
    """What one forward pass gives.

    Attributes:
        logits: logits of the labelled samples; a list with deep supervision.
        terms: losses to be added, `(len(names),)`.
        measures: figures to be written down, `(len(measures),)`, not finite where undefined.
        absent: names of terms that this step left out, the same in all processes; their value is 0.
    """

    logits: Any
    terms: Tensor
    measures: Tensor
    absent: frozenset[str] = frozenset()


class ExtraObjective:
    """No extra objective: the network alone.

    Others name their terms and measures, give the module whose forward pass makes them (it is what several
    processes share, so that gradients are averaged once), and keep what they need to resume.

    Attributes:
        names: names of the terms.
        measures: names of the figures.
        module: module to be called in the forward pass, by way of `forward`.
        has_unused_parts: whether parts of the module are not used in every step.
    """

    names: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    has_unused_parts = False

    def __init__(self, network: nn.Module) -> None:
        self.module = network

    @property
    def weights(self) -> list[float]:
        """Fixed weights of the terms: Eq. 23 balances the supervised objectives only."""
        return [1.0] * len(self.names)

    def target_batch_number(self, number: int, progress: float) -> int | None:
        """Tell which batch of the target domain a step needs.

        Args:
            number: number of the step in the whole training.
            progress: share of the training that is done.

        Returns:
            None where it needs none; otherwise one more than the step before that needed one.
        """
        return None

    def forward(self, module: nn.Module, step: StepInput) -> ObjectiveTerms:
        """Run the forward pass on `module`, which is the own one or a wrapper around it."""
        nothing = torch.zeros(0, device=step.image.device)
        return ObjectiveTerms(module(step.image), nothing, nothing)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Optimizers of parameters that are not the network's; stepped with the network's."""
        return []

    def after_step(self) -> None:
        """Called when the weights have changed."""

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to what `tensors` gave."""
