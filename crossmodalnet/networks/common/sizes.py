"""Compute sizes of maps, windows and patches on three axes."""

from math import ceil, prod

Triple = tuple[int, int, int]

IN_CHANNELS = 2  # CT and MR

MAX_SIZE, MAX_VOXELS = 1024, 512**3  # of a model card's grid: voxels per axis, and in all

LARGEST_WINDOW = 7  # tokens per axis, as in Swin transformers
SMALLEST_WINDOW = 4  # smaller ones see too little context, even where they need no padding


def dividing_window(size: Triple) -> Triple:
    """Choose the window of 4 to 7 tokens per axis that pads a map least; ties go to the larger one.

    A short axis becomes one window. Example: (20, 10, 5) -> (5, 5, 5); (24, 12, 6) -> (6, 6, 6);
    (11, 13, 3) -> (6, 7, 3).
    """

    def choose(n: int) -> int:
        if n <= LARGEST_WINDOW:
            return n
        return min(range(LARGEST_WINDOW, SMALLEST_WINDOW - 1, -1), key=lambda w: -n % w)

    return choose(size[0]), choose(size[1]), choose(size[2])


def padding_share(size: Triple, window: Triple) -> float:
    """Return the ratio of padding tokens to the map's own: 0 where windows divide it."""
    return prod(padded_size(size, effective_window(size, window))) / prod(size) - 1


def effective_window(size: Triple, window: Triple) -> Triple:
    """Clip the window to the map."""
    return min(size[0], window[0]), min(size[1], window[1]), min(size[2], window[2])


def effective_shift(size: Triple, window: Triple, shift: Triple) -> Triple:
    """Drop the shift on axes that one window covers, where it would only cut that window in two."""
    d, h, w = (0 if n <= m else s for n, m, s in zip(size, window, shift, strict=True))
    return d, h, w


def padded_size(size: Triple, window: Triple) -> Triple:
    """Round each axis up to a multiple of its window."""
    d, h, w = (ceil(n / m) * m for n, m in zip(size, window, strict=True))
    return d, h, w


def strides_to(total: Triple) -> list[Triple]:
    """Split a stride into steps of 2 per axis, as long as the axis' stride is even.

    Example: (4, 4, 4) -> two steps of (2, 2, 2); (1, 2, 4) -> (1, 2, 2), (1, 1, 2); (1, 1, 1) -> none.
    """
    steps = []
    while max(total) > 1:
        d, h, w = (2 if n % 2 == 0 else n for n in total)
        steps.append((d, h, w))
        total = total[0] // d, total[1] // h, total[2] // w
    return steps
