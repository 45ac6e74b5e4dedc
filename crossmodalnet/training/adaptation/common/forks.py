"""The forks of one forward pass: at each place the way on, and a side for every term that branches off there."""

from collections.abc import Mapping

from torch import Tensor

from crossmodalnet.networks.common.interfaces import Streams
from crossmodalnet.training.adaptation.common.places import INSIDE, Place
from crossmodalnet.training.adaptation.common.reversal import branch
from crossmodalnet.training.adaptation.common.term import Maps, Term


class Forks:
    """Branches terms off a network as it runs, and keeps what each of them sees.

    Args:
        terms: terms of this step by name.
        ramp: multiplies all strengths, 0 to 1.
        strengths: strengths by term, positive.
        num_source: number of source samples, which come first in the batch.
        cap: largest norm of a term's gradient at a fork, over that of the supervised one.

    Attributes:
        views: by term and place, what the term sees.
        main: by place, what goes on; channels first.
    """

    def __init__(
        self,
        terms: Mapping[str, Term],
        strengths: Mapping[str, float],
        *,
        ramp: float,
        num_source: int,
        cap: float,
    ) -> None:
        self._terms = terms
        self._signed = {
            name: ramp * (-strengths[name] if term.is_reversed else strengths[name])
            for name, term in terms.items()
        }
        self._num_source = num_source
        self._cap = cap
        self.views: dict[str, dict[Place, Maps]] = {name: {} for name in terms}
        self.main: dict[Place, Maps] = {}

    def fork(self, place: Place, streams: Streams) -> Streams:
        """Branch off what streams have at a place; gives them on.

        Args:
            place: place that the streams are of.
            streams: features `(b, d, h, w, c)` inside the network, logits `(b, k, D, H, W)` at the output.
        """
        names = [name for name, term in self._terms.items() if place in term.places]
        strengths = [self._signed[name] for name in names]
        ways = [branch(x, self._num_source, strengths, self._cap) for x in streams]
        self.main[place] = [_maps(place, way[0]) for way in ways]
        for number, name in enumerate(names, start=1):
            self.views[name][place] = [_maps(place, way[number]) for way in ways]
        return tuple(way[0] for way in ways)


def _maps(place: Place, x: Tensor) -> Tensor:
    return x.movedim(-1, 1) if place in INSIDE else x
