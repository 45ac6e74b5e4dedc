"""What of a pair a network is shown: both images, or one of them alone."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class View(StrEnum):
    """What a network is shown; the value is its key in metrics files and the name of its folder."""

    PAIR = "pair"
    CT_ALONE = "ct_alone"
    MR_ALONE = "mr_alone"

    @property
    def missing_channel(self) -> int | None:
        """Channel of the input `(2, d, h, w)` that is taken out; None: neither."""
        return {View.CT_ALONE: 1, View.MR_ALONE: 0}.get(self)


ALONE = (View.CT_ALONE, View.MR_ALONE)
VIEW_TITLES: Mapping[View, str] = MappingProxyType(
    {View.PAIR: "CT + MR", View.CT_ALONE: "CT alone", View.MR_ALONE: "MR alone"}
)
