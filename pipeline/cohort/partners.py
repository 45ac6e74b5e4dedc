"""Partners of other people: CTs that share no pair with their patient's own MR, and training CTs with several MRs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pipeline.cohort.pairs import Pair

T = TypeVar("T")


def circles_of(items: Sequence[T]) -> list[list[T]]:
    """Cut a sequence into groups of two, the last of three where the number is odd; a lone item is a group of one.

    >>> circles_of("abcde")
    [['a', 'b'], ['c', 'd', 'e']]
    """
    starts = list(range(0, max(1, len(items) - 1), 2))
    ends = [*starts[1:], len(items)]
    return [list(items[start:end]) for start, end in zip(starts, ends, strict=True) if start < end]


def swap_partners(circle: Sequence["Pair"]) -> list["Pair"]:
    """Give each CT of a circle of patients the MR of the next one: nobody's CT meets that patient's own MR."""
    following = [*circle[1:], *circle[:1]]
    return [replace(pair, mr=other.mr) for pair, other in zip(circle, following, strict=True)]


def connected(pairs: Sequence["Pair"], start: "Pair") -> set[str]:
    """Name the pairs that share a person with `start`, or with a pair that does, and so on."""
    people = {start.ct.person, start.mr.person}
    names: set[str] = set()
    while True:
        found = [pair for pair in pairs if {pair.ct.person, pair.mr.person} & people]
        if len(found) == len(names):
            return names
        names = {pair.name for pair in found}
        people |= {subject.person for pair in found for subject in (pair.ct, pair.mr)}


def with_more_mrs(train: Sequence["Pair"], mrs_per_ct: int) -> list["Pair"]:
    """Pair every training CT with further MRs of other patients that train, each MR as often as the others.

    Args:
        train: training pairs, no CT twice.
        mrs_per_ct: MRs of each CT, that of its pair included.

    Returns:
        The pairs, each followed by its further ones.

    Raises:
        ValueError: there are not so many training MRs of other patients.
    """
    mrs = list({pair.mr.name: pair.mr for pair in train}.values())
    places = {mr.name: place for place, mr in enumerate(mrs)}
    found: list[Pair] = []
    for pair in train:
        start = places[pair.mr.name]
        others = [
            mr
            for mr in (*mrs[start + 1 :], *mrs[:start])
            if mr.person not in (pair.ct.person, pair.mr.person)
        ]
        if len(others) < mrs_per_ct - 1:
            raise ValueError(
                f"split.mrs_per_ct = {mrs_per_ct}, but {pair.ct.name} can be paired with {1 + len(others)} "
                f"training MRs: set it to {1 + len(others)} or less"
            )
        found += [pair, *(replace(pair, mr=mr) for mr in others[: mrs_per_ct - 1])]
    return found
