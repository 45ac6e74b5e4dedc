"""Training with JADA (`adapt`): its terms, their ramp, and the optimizer of what they train."""

import torch
from torch import Tensor, nn

from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.training.adaptation.adapter import MEASURES, AdaptationNetwork, ganin_ramp
from crossmodalnet.training.adaptation.appearance import match_histogram
from pipeline.config.sections import AdaptationConfig
from pipeline.runtime.errors import UsageError
from pipeline.training.checkpoint import Checkpoint, optimizer_tensors, prefixed, restore_optimizer
from pipeline.training.extra_objective import ExtraObjective, ObjectiveTerms, StepInput

# Momentum as usual for adversaries: less memory of gradients that have turned since.
BETAS = (0.5, 0.99)


class AdaptationObjective(ExtraObjective):
    """All terms of JADA.

    Args:
        network: network on the device of the process.
        params: section `adapt`.

    Raises:
        UsageError: the network is no CrossModalNet, or has no such decoder level.
    """

    measures = MEASURES
    has_unused_parts = True  # the discriminators, in steps that see no target

    def __init__(self, network: nn.Module, params: AdaptationConfig) -> None:
        if not isinstance(network, LayeredNetwork):
            raise UsageError(
                "adapt.enabled: only crossmodalnet has the features that are aligned; set models to it"
            )
        try:
            adapter = AdaptationNetwork(network, params.strengths(), params.settings(), NUM_CLASSES)
        except ValueError as error:
            raise UsageError(f"adapt.{error}") from error
        device = next(network.parameters()).device
        super().__init__(adapter.to(device))
        self.names = tuple(adapter.terms)
        self._params = params
        self._adapter = adapter
        parameters = adapter.discriminator_parameters()
        self._optimizers: list[torch.optim.Optimizer] = (
            [torch.optim.Adam(parameters, lr=params.discriminator_lr, betas=BETAS, fused=True)]
            if parameters
            else []
        )

    def target_batch_number(self, number: int, progress: float) -> int | None:
        """Count the steps that are a multiple of `every`, from `start` on."""
        batch_number, rest = divmod(number, self._params.every)
        return None if rest or progress < self._params.start else batch_number

    def forward(self, module: nn.Module, step: StepInput) -> ObjectiveTerms:
        """Run both domains through the network, or in a step without a target the source alone."""
        target = step.target
        if target is None:
            logits, terms, measures = module(step.image)
            return ObjectiveTerms(logits, terms, measures, absent=frozenset(self.names))
        image, start = self._dressed(step.image, target.image), self._params.start
        logits, terms, measures = module(
            image,
            target.image,
            step.label,
            ramp=ganin_ramp((step.progress - start) / (1 - start)),
            number=target.number,
        )
        return ObjectiveTerms(logits, terms, measures, self._adapter.absent(target.number))

    def _dressed(self, image: Tensor, target: Tensor) -> Tensor:
        """Give some source images the intensities of a target image; which ones, torch's generator decides."""
        drawn = (torch.rand(len(image)) < self._params.appearance).tolist()
        return torch.stack([
            match_histogram(own, target[number % len(target)]) if take else own
            for number, (own, take) in enumerate(zip(image, drawn, strict=True))
        ])  # fmt: skip

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """That of the discriminators."""
        return self._optimizers

    def after_step(self) -> None:
        """Let the terms follow the network."""
        self._adapter.after_step()

    def tensors(self) -> dict[str, Tensor]:
        """The terms' parts and their optimizer."""
        tensors = prefixed("terms", self._adapter.parts.state_dict())
        for optimizer in self._optimizers:
            tensors |= prefixed("optimizer", optimizer_tensors(optimizer))
        return prefixed("adaptation", tensors)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to what `tensors` gave."""
        kept = Checkpoint(checkpoint.part("adaptation"), {})
        for optimizer in self._optimizers:
            restore_optimizer(optimizer, kept.part("optimizer"))
        self._adapter.parts.load_state_dict(kept.part("terms"))
