"""Sizes of maps, windows and patches: arithmetic on three axes, which needs no tensors."""

from math import ceil, prod

Triple = tuple[int, int, int]

# Largest grid that a model's card may have: voxels of an axis, and in all.
MAX_SIZE, MAX_VOXELS = 1024, 512**3

# Tokens per axis: a window of 7^3 costs as much attention as is common (Swin transformers have 7).
LARGEST_WINDOW = 7
# Smaller windows see too little, even where they divide a map and larger ones do not.
SMALLEST_WINDOW = 4


def dividing_window(size: Triple) -> Triple:
    """Choose the window that pads a map least, of `SMALLEST_WINDOW` to `LARGEST_WINDOW` tokens per axis.

    Of equally good ones the larger is taken; a short axis becomes one window.

    Example: (20, 10, 5) -> (5, 5, 5); (24, 12, 6) -> (6, 6, 6); (11, 13, 3) -> (6, 7, 3).
    """

    def choose(n: int) -> int:
        if n <= LARGEST_WINDOW:
            return n
        return min(range(LARGEST_WINDOW, SMALLEST_WINDOW - 1, -1), key=lambda w: -n % w)

    return choose(size[0]), choose(size[1]), choose(size[2])


def padding_share(size: Triple, window: Triple) -> float:
    """Tokens that windows add to a map, over its own: 0 where they divide it."""
    return prod(padded_size(size, effective_window(size, window))) / prod(size) - 1


def effective_window(size: Triple, window: Triple) -> Triple:
    """Shrink `window` to the map: an axis shorter than the window becomes one window."""
    return min(size[0], window[0]), min(size[1], window[1]), min(size[2], window[2])


def effective_shift(size: Triple, window: Triple, shift: Triple) -> Triple:
    """Drop the shift on axes that a single window covers, where it would only cut that window in two."""
    d, h, w = (0 if n <= m else s for n, m, s in zip(size, window, shift, strict=True))
    return d, h, w


def padded_size(size: Triple, window: Triple) -> Triple:
    """Round every axis up to a multiple of its window."""
    d, h, w = (ceil(n / m) * m for n, m in zip(size, window, strict=True))
    return d, h, w


def strides_to(total: Triple) -> list[Triple]:
    """Reach a stride in steps that halve every axis as long as its stride is even.

    Example: (4, 4, 4) -> two steps of (2, 2, 2); (1, 2, 4) -> (1, 2, 2), (1, 1, 2); (1, 1, 1) -> none.
    """
    steps = []
    while max(total) > 1:
        d, h, w = (2 if n % 2 == 0 else n for n in total)
        steps.append((d, h, w))
        total = total[0] // d, total[1] // h, total[2] // w
    return steps
