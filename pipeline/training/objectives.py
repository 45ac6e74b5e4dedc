"""Define training objectives: supervised, with the information-flow penalty, or with JADA."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from crossmodalnet.errors import UsageError
from crossmodalnet.imaging.samples import Misregistration, apply_misregistration
from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.networks.common.interfaces import LayeredNetwork, channels_first
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet
from crossmodalnet.training.adaptation.adapter import MEASURES, AdaptationNetwork, ganin_ramp
from crossmodalnet.training.adaptation.appearance import match_histogram
from crossmodalnet.training.adaptation.config import AdaptationConfig
from crossmodalnet.training.cmif import cmif_penalty
from crossmodalnet.training.config import AugmentationConfig
from crossmodalnet.training.dataset import draw_misregistration
from pipeline.training.checkpoint import Checkpoint, optimizer_tensors, prefixed, restore_optimizer


class TargetBatch(NamedTuple):
    """Unlabelled target samples, `(t, 2, d, h, w)`, and the batch number."""

    image: Tensor
    number: int


class Step(NamedTuple):
    """Input of an objective in a step.

    Attributes:
        image: labelled samples, `(b, 2, d, h, w)`.
        label: class indices, `(b, d, h, w)`.
        progress: finished share of the training, 0 to 1.
        target: None in a source-only step.
    """

    image: Tensor
    label: Tensor
    number: int
    progress: float
    target: TargetBatch | None


class Terms(NamedTuple):
    """Result of a forward pass.

    Attributes:
        logits: of the labelled samples; a list with deep supervision.
        terms: losses to add, `(len(names),)`.
        measures: values for the curve, `(len(measures),)`, not finite if undefined.
        absent: terms left out of this step, the same in all processes, with value 0.
    """

    logits: Any
    terms: Tensor
    measures: Tensor
    absent: frozenset[str] = frozenset()


class Objective:
    """The supervised objectives; subclasses add terms.

    Attributes:
        has_unused_parts: some steps do not use all parts of the module.
        module: computes the terms in its forward pass, so DDP averages all gradients once.
    """

    names: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    has_unused_parts = False

    def __init__(self, network: nn.Module) -> None:
        self.module = network

    @property
    def weights(self) -> list[float]:
        """Fixed weights of the terms; Eq. 23 balances only the supervised objectives."""
        return [1.0] * len(self.names)

    def target_batch_number(self, number: int, progress: float) -> int | None:
        """Return the target batch number for a step, one more than the last; None if it needs none."""
        return None

    def forward(self, module: nn.Module, step: Step) -> Terms:
        """Run the forward pass on `module` or a wrapper of it."""
        nothing = torch.zeros(0, device=step.image.device)
        return Terms(module(step.image), nothing, nothing)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimizers of non-network parameters; they step with the network's."""
        return []

    def after_step(self) -> None:
        """Update the terms after the weights change."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the checkpoint's tensors."""
        return {}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore the tensors of a checkpoint."""


# Images with moved MRs, and their transforms `(b, 3, 4)`.
Moved = tuple[Tensor, Tensor]


class FlowNetwork(nn.Module):
    """A network that also returns the information-flow penalty in the same forward pass."""

    def __init__(self, network: LayeredNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, step: int) -> tuple[Tensor | list[Tensor], Tensor]:
        """Return logits and the penalty in nats; every step samples its own tokens."""
        logits, layers = self.network.logits_and_layers(x)
        pairs = [(a, b) for a, b in channels_first(layers)]
        return logits, cmif_penalty(pairs, seed=step * len(pairs))  # one seed per layer


class FlowObjective(Objective):
    """Penalty on falling information flow between two streams, weighted by `losses.cmif`."""

    names = ("cmif",)

    def __init__(self, network: LayeredNetwork, weight: float) -> None:
        super().__init__(FlowNetwork(network))
        self._weight = weight

    @property
    def weights(self) -> list[float]:
        """Weight of the parameters."""
        return [self._weight]

    def forward(self, module: nn.Module, step: Step) -> Terms:
        """Compute logits and penalty."""
        logits, penalty = module(step.image, step.number)
        return Terms(logits, penalty[None], torch.zeros(0, device=step.image.device))


class AlignedNetwork(nn.Module):
    """A network that also returns the loss of its alignment in the same forward pass."""

    def __init__(self, network: CrossModalNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, moved: Tensor, transform: Tensor) -> tuple[Tensor | list[Tensor], Tensor]:
        """Return the logits of `x`, and the alignment's loss for samples with moved MRs."""
        assert self.network.alignment is not None
        return self.network(x), self.network.alignment.loss(moved, transform)


# Moves that the alignment is trained on: the share of MRs moved, the largest shift, share of the patch, and turn,
# degrees; of all positions and near ones. These must reach what errors the former leave: 2 to 5 mm of 140.
MOVED, FAR, NEAR = 0.9, (0.2, 20.0), (0.05, 4.0)


class AlignmentObjective(Objective):
    """Cross-entropy of the alignment; its weight keeps the clipped norm of all gradients that of the segmentation."""

    names = ("alignment",)

    def __init__(self, network: CrossModalNet) -> None:
        super().__init__(AlignedNetwork(network))

    @property
    def weights(self) -> list[float]:
        """Return the weight; Adam's steps do not depend on it."""
        return [0.01]

    def forward(self, module: nn.Module, step: Step) -> Terms:
        """Compute logits, and the loss: half of the MRs are moved far, half little; a single one both ways."""
        random = np.random.RandomState(int(torch.randint(2**31 - 1, ())))
        half = -(-len(step.image) // 2)
        far, near = _moved(step.image[:half], *FAR, random), _moved(step.image[-half:], *NEAR, random)
        logits, loss = module(step.image, *(torch.cat(pair) for pair in zip(far, near, strict=True)))
        return Terms(logits, loss[None], torch.zeros(0, device=step.image.device))


def _moved(image: Tensor, shift: float, degrees: float, random: np.random.RandomState) -> Moved:
    """Move MRs by at most a share of the patch and degrees; return the image and the transforms `(b, 3, 4)`."""
    largest = AugmentationConfig(
        misregistration_probability=MOVED,
        misregistration_voxels=shift * max(image.shape[2:]),
        misregistration_degrees=degrees,
    )
    in_place = Misregistration((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    moves = [draw_misregistration(largest, random) or in_place for _ in image]
    images = [
        torch.cat([own[:1], apply_misregistration(own[1:], move)]) for own, move in zip(image, moves, strict=True)
    ]
    return torch.stack(images), image.new_tensor(np.stack([move.matrix() for move in moves]))


def make_objective(network: nn.Module, weight: float) -> Objective:
    """Make the objective with the penalty or the alignment if the network has two streams and one of these is on."""
    if isinstance(network, CrossModalNet) and network.alignment is not None:
        if weight:
            raise UsageError(
                "losses.cmif and network.crossmodalnet.align cannot be had together: switch one of them off"
            )
        return AlignmentObjective(network)
    if weight and isinstance(network, LayeredNetwork) and len(network.inputs) == 2:
        return FlowObjective(network, weight)
    return Objective(network)


# Adam betas usual for adversarial training: less memory of reversed gradients.
BETAS = (0.5, 0.99)
DISCRIMINATOR_LR = 1e-3


class AdaptationObjective(Objective):
    """All terms of JADA; UsageError if the network is no CrossModalNet or lacks the decoder level."""

    measures = MEASURES
    has_unused_parts = True  # discriminators in source-only steps

    def __init__(self, network: nn.Module, params: AdaptationConfig) -> None:
        if not isinstance(network, LayeredNetwork):
            raise UsageError("adapt.enabled: only crossmodalnet has the features that are aligned; set models to it")
        if isinstance(network, CrossModalNet) and network.alignment is not None:
            raise UsageError(
                "adapt.enabled and network.crossmodalnet.align cannot be had together: switch one of them off"
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
            self._optimizers.append(torch.optim.Adam(parameters, lr=DISCRIMINATOR_LR, betas=BETAS, fused=True))

    def target_batch_number(self, number: int, progress: float) -> int | None:
        """Count the multiples of `every` from `start` on."""
        batch_number, rest = divmod(number, self._params.every)
        return None if rest or progress < self._params.start else batch_number

    def forward(self, module: nn.Module, step: Step) -> Terms:
        """Run both domains through the network, or only the source if there is no target."""
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
        """Match the intensities of randomly chosen source images to a target image."""
        drawn = (torch.rand(len(image)) < self._params.appearance).tolist()
        return torch.stack([
            match_histogram(own, target[number % len(target)]) if take else own
            for number, (own, take) in enumerate(zip(image, drawn, strict=True))
        ])  # fmt: skip

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimizer of the discriminators."""
        return self._optimizers

    def after_step(self) -> None:
        """Update the terms after the weights change."""
        self._adapter.after_step()

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the terms and their optimizer."""
        tensors = prefixed("terms", self._adapter.parts.state_dict())
        for optimizer in self._optimizers:
            tensors |= prefixed("optimizer", optimizer_tensors(optimizer))
        return prefixed("adaptation", tensors)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore the tensors of a checkpoint."""
        kept = Checkpoint(checkpoint.part("adaptation"), {})
        for optimizer in self._optimizers:
            restore_optimizer(optimizer, kept.part("optimizer"))
        self._adapter.parts.load_state_dict(kept.part("terms"))
