"""A term of JADA as a part: its name, where it branches off, which way its gradient goes, how often it is computed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from crossmodalnet.networks.common.interfaces import LayeredNetwork
from crossmodalnet.training.adaptation.common.places import Place
from crossmodalnet.training.adaptation.common.settings import AdaptationSettings
from crossmodalnet.training.adaptation.common.voxels import DrawnVoxels

Maps = list[Tensor]  # of the streams, (b, c, d, h, w) each, the source samples first


@dataclass(frozen=True)
class BothDomains:
    """What all terms may look at in a step that sees the target.

    Attributes:
        num_source: number of source samples, which come first in every batch of maps.
        label: labels of the source, class indices `(num_source, D, H, W)`.
        drawn: voxels of the decoder level that were drawn in both domains, every class alike.
        size: voxels of the decoder level, `(d, h, w)`.
        before: what the terms asked for before the network ran (`Term.before`), by name.
    """

    num_source: int
    label: Tensor
    drawn: DrawnVoxels
    size: tuple[int, int, int]
    before: Mapping[str, Tensor]


@dataclass(frozen=True)
class TermValue:
    """What a term gives.

    Attributes:
        loss: scalar.
        measures: figures for the curves, one per name in `Term.measures`; NaN where undefined.
    """

    loss: Tensor
    measures: tuple[Tensor, ...] = ()


class Term(nn.Module, ABC):
    """A loss that aligns the domains, with the parts that it trains.

    A subclass lies in a module of its own in `terms/`, called by the term's name, and makes its parts in its
    constructor, which has these arguments. Its strength multiplies the gradient that it sends to the network; its own
    parts learn at full strength.

    Args:
        network: network that is adapted; it is not kept.
        settings: sizes of the parts.
        num_classes: background included.

    Attributes:
        name: name of the term, as in the registry, the curves and the parameters.
        places: places at which it branches off the network.
        is_reversed: whether the network gets its gradient reversed, as an adversary's.
        measures: names of the figures that it gives beside its loss.
        every: interval, in steps that see the target, at which it is computed.
    """

    name: ClassVar[str]
    places: ClassVar[tuple[Place, ...]]
    is_reversed: ClassVar[bool] = False
    measures: ClassVar[tuple[str, ...]] = ()
    every: int = 1

    def __init__(self, network: LayeredNetwork, settings: AdaptationSettings, num_classes: int) -> None:
        super().__init__()
        self.settings = settings

    def before(self, source: Tensor) -> Tensor | None:
        """Look at the source images `(s, 2, D, H, W)` before the network does; what it gives comes back in `forward`.

        What is drawn at random here is drawn before the network draws.
        """
        return None

    @abstractmethod
    def forward(self, views: Mapping[Place, Maps], domains: BothDomains) -> TermValue:
        """Compute the loss of one step.

        Args:
            views: at each of the term's places the features of every stream, at `output` the logits alone.
            domains: labels and drawn voxels of the step.
        """

    def after_step(self, network: LayeredNetwork) -> None:
        """Called when the network's weights have changed."""
