"""Objectives of a training: supervised alone, with the penalty on falling information flow, or with JADA's terms."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from crossmodalnet.errors import UsageError
from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.networks.common.interfaces import LayeredNetwork, channels_first
from crossmodalnet.training.adaptation.adapter import MEASURES, AdaptationNetwork, ganin_ramp
from crossmodalnet.training.adaptation.appearance import match_histogram
from crossmodalnet.training.adaptation.config import AdaptationConfig
from crossmodalnet.training.cmif import cmif_penalty
from pipeline.training.checkpoint import Checkpoint, optimizer_tensors, prefixed, restore_optimizer


class TargetBatch(NamedTuple):
    """Samples of the target domain without labels, `(t, 2, d, h, w)`, and the batch's number."""

    image: Tensor
    number: int


class Step(NamedTuple):
    """Input of an objective in a step, on the device of the process.

    Attributes:
        image: labelled samples, `(b, 2, d, h, w)`.
        label: their labels, `(b, d, h, w)`.
        number: number of the step in the whole training.
        progress: share of the training that is done, 0 to 1.
        target: samples of the target domain; None in a step of the source alone.
    """

    image: Tensor
    label: Tensor
    number: int
    progress: float
    target: TargetBatch | None


class Terms(NamedTuple):
    """Result of a forward pass.

    Attributes:
        logits: logits of the labelled samples; a list with deep supervision.
        terms: losses to be added, `(len(names),)`.
        measures: figures for the curve, `(len(measures),)`, not finite where undefined.
        absent: names of terms that this step left out, the same in all processes; their value is 0.
    """

    logits: Any
    terms: Tensor
    measures: Tensor
    absent: frozenset[str] = frozenset()


class Objective:
    """The supervised objectives alone; subclasses add terms.

    Attributes:
        names: names of the terms.
        measures: names of the figures.
        has_unused_parts: whether parts of the module are not used in every step.
        module: module whose forward pass makes the terms; several processes share it, so gradients are averaged once.
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
        """Give the number of the target batch that a step needs: one more than the last; None where it needs none."""
        return None

    def forward(self, module: nn.Module, step: Step) -> Terms:
        """Run the forward pass on `module`, or on a wrapper around it."""
        nothing = torch.zeros(0, device=step.image.device)
        return Terms(module(step.image), nothing, nothing)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Optimizers of parameters that are not the network's; stepped with the network's."""
        return []

    def after_step(self) -> None:
        """Follow the weights, which have changed."""

    def tensors(self) -> dict[str, Tensor]:
        """Tensors for a checkpoint."""
        return {}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Put back the tensors of a checkpoint."""


class FlowNetwork(nn.Module):
    """A network that also gives the penalty of its features, in one forward pass."""

    def __init__(self, network: LayeredNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, step: int) -> tuple[Tensor | list[Tensor], Tensor]:
        """Give logits as the network does, and the penalty in nats; every step has random tokens of its own."""
        logits, layers = self.network.logits_and_layers(x)
        pairs = [(a, b) for a, b in channels_first(layers)]
        return logits, cmif_penalty(pairs, seed=step * len(pairs))  # layers count the seed up


class FlowObjective(Objective):
    """The penalty on falling information flow between two streams, with the weight `losses.cmif`."""

    names = ("cmif",)

    def __init__(self, network: LayeredNetwork, weight: float) -> None:
        super().__init__(FlowNetwork(network))
        self._weight = weight

    @property
    def weights(self) -> list[float]:
        """Weight of the parameters."""
        return [self._weight]

    def forward(self, module: nn.Module, step: Step) -> Terms:
        """Give logits and penalty."""
        logits, penalty = module(step.image, step.number)
        return Terms(logits, penalty[None], torch.zeros(0, device=step.image.device))


def make_flow_objective(network: nn.Module, weight: float) -> Objective:
    """Make the penalty where there are two streams between which information could flow, else nothing."""
    if isinstance(network, LayeredNetwork) and len(network.inputs) == 2:
        return FlowObjective(network, weight)
    return Objective(network)


# Momentum as usual for adversaries: less memory of gradients that have turned since.
BETAS = (0.5, 0.99)
DISCRIMINATOR_LR = 1e-3


class AdaptationObjective(Objective):
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
            adapter = AdaptationNetwork(network, params, NUM_CLASSES)
        except ValueError as error:
            raise UsageError(f"adapt.{error}") from error
        device = next(network.parameters()).device
        super().__init__(adapter.to(device))
        self.names = tuple(adapter.terms)
        self._params = params
        self._adapter = adapter
        self._optimizers: list[torch.optim.Optimizer] = []
        if parameters := adapter.discriminator_parameters():
            self._optimizers.append(
                torch.optim.Adam(parameters, lr=DISCRIMINATOR_LR, betas=BETAS, fused=True)
            )

    def target_batch_number(self, number: int, progress: float) -> int | None:
        """Count the steps that are a multiple of `every`, from `start` on."""
        batch_number, rest = divmod(number, self._params.every)
        return None if rest or progress < self._params.start else batch_number

    def forward(self, module: nn.Module, step: Step) -> Terms:
        """Run both domains through the network, or in a step without a target the source alone."""
        target = step.target
        if target is None:
            logits, terms, measures = module(step.image)
            return Terms(logits, terms, measures, absent=frozenset(self.names))
        image, start = self._dressed(step.image, target.image), self._params.start
        logits, terms, measures = module(
            image,
            target.image,
            step.label,
            ramp=ganin_ramp((step.progress - start) / (1 - start)),
            number=target.number,
        )
        return Terms(logits, terms, measures, self._adapter.absent(target.number))

    def _dressed(self, image: Tensor, target: Tensor) -> Tensor:
        """Give some source images the intensities of a target image; which ones, torch's generator decides."""
        drawn = (torch.rand(len(image)) < self._params.appearance).tolist()
        return torch.stack([
            match_histogram(own, target[number % len(target)]) if take else own
            for number, (own, take) in enumerate(zip(image, drawn, strict=True))
        ])  # fmt: skip

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Optimizer of the discriminators."""
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
        """Put back the tensors of a checkpoint."""
        kept = Checkpoint(checkpoint.part("adaptation"), {})
        for optimizer in self._optimizers:
            restore_optimizer(optimizer, kept.part("optimizer"))
        self._adapter.parts.load_state_dict(kept.part("terms"))
