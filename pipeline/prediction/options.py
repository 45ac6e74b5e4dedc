"""Options of the command line that need reading."""

import math

from crossmodalnet.roi.box import Box
from pipeline.runtime.errors import UsageError


def read_box(text: str) -> Box:
    """Read six numbers: lowest and highest corner of a box in mm, world RAS.

    Raises:
        UsageError: there are not six, or they span no box.
    """
    try:
        a, b, c, x, y, z = (float(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise UsageError(f"--box must be six numbers in mm, got {text!r}") from error
    if not all(math.isfinite(v) for v in (a, b, c, x, y, z)):
        raise UsageError(f"--box must be six finite numbers in mm, got {text!r}")
    if not (a < x and b < y and c < z):
        raise UsageError(f"--box must be the lowest and then the highest corner in mm, got {text!r}")
    return Box((a, b, c), (x, y, z))
