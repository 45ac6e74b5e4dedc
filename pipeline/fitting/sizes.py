"""Which patches suit the network: sizes that it can halve as often as it has levels and cut into whole windows."""

from collections.abc import Iterator
from math import ceil, prod

from crossmodalnet.networks.common.sizes import Triple, dividing_window, padding_share

# Tokens that the deepest level keeps on the shortest axis, and levels at most.
FEWEST_TOKENS, MOST_LEVELS = 4, 4
# Of the grid that a patch may cover in excess, where one patch shall be all of it.
EXCESS = 1.25


def levels_of(patch: Triple, embedding: Triple) -> int:
    """Levels that leave `FEWEST_TOKENS` on every axis of the deepest one, 1 to `MOST_LEVELS`.

    >>> [levels_of((n, n, n), (4, 4, 4)) for n in (16, 40, 64, 96, 160)]
    [1, 2, 3, 3, 4]
    """
    tokens = min(n // e for n, e in zip(patch, embedding, strict=True))
    return next((n for n in range(MOST_LEVELS, 1, -1) if tokens >> (n - 1) >= FEWEST_TOKENS), 1)


def suits(patch: Triple, embedding: Triple) -> bool:
    """Tell whether every level's map is whole, and whole windows divide it.

    >>> suits((40, 40, 40), (4, 4, 4)), suits((44, 40, 40), (4, 4, 4)), suits((104, 104, 104), (4, 4, 4))
    (True, False, False)
    """
    for level in range(levels_of(patch, embedding)):
        strides = [e << level for e in embedding]
        if any(n % stride for n, stride in zip(patch, strides, strict=True)):
            return False
        d, h, w = (n // stride for n, stride in zip(patch, strides, strict=True))
        if padding_share((d, h, w), dividing_window((d, h, w))) > 0:
            return False
    return True


def patches_for(grid: Triple, embedding: Triple) -> list[Triple]:
    """List patches for a grid, the largest first: those that cover it whole, then ones of its proportions.

    Args:
        grid: voxels that the hearts need.
        embedding: voxels per token.
    """
    found = {patch for scale in range(125, 19, -1) if (patch := _near(grid, scale / 100, embedding))}
    whole = [p for p in found if covers(p, grid) and prod(p) <= EXCESS * prod(grid)]
    parts = [p for p in found if all(n <= m for n, m in zip(p, _rounded(grid, embedding), strict=True))]
    return sorted({*whole[-1:], *sorted(whole, key=prod)[:1], *parts}, key=lambda p: (-prod(p), p))


def covers(patch: Triple, grid: Triple) -> bool:
    """Tell whether one patch holds a whole grid."""
    return all(n >= m for n, m in zip(patch, grid, strict=True))


def _near(grid: Triple, scale: float, embedding: Triple) -> Triple | None:
    """The smallest suitable patch that is at least a scaled grid, axis by axis; None where there is none near."""
    wanted = [max(2 * e, ceil(scale * n)) for n, e in zip(grid, embedding, strict=True)]
    for patch in _upwards(wanted, embedding):
        if suits(patch, embedding):
            return patch
    return None


def _upwards(wanted: list[int], embedding: Triple) -> Iterator[Triple]:
    """Sizes from what is wanted up, in order of their voxels."""
    axes = [
        list(range(ceil(low / e) * e, ceil(low / e) * e + 8 * e, e))
        for low, e in zip(wanted, embedding, strict=True)
    ]
    yield from sorted(
        ((d, h, w) for d in axes[0] for h in axes[1] for w in axes[2]), key=lambda p: (prod(p), p)
    )


def _rounded(grid: Triple, embedding: Triple) -> Triple:
    d, h, w = (ceil(n / e) * e for n, e in zip(grid, embedding, strict=True))
    return d, h, w
