"""How strongly domains are pulled together in the course of training."""

import math


def ganin_ramp(progress: float, gamma: float = 10.0) -> float:
    """Rise from 0 to almost 1: `2 / (1 + exp(-gamma p)) - 1` (Ganin et al. 2016, Sec. 5.2).

    Early discriminators know little: their gradients would only disturb the first features.

    Args:
        progress: share of the training that is done, 0 to 1.
        gamma: steepness of the rise; half of the way at `progress = 1.1 / gamma`.

    Raises:
        ValueError: `progress` outside its range.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be between 0 and 1, got {progress}")
    return 2 / (1 + math.exp(-gamma * progress)) - 1
