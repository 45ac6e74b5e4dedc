"""What training does to a pair of images as a pair: it takes one of them away."""

import numpy as np

CT, MR = 0, 1  # channels of an input


def draw_loss(probability: float, random: np.random.RandomState) -> int | None:
    """Draw the channel that a sample is to lose, `CT` or `MR` with equal chance; None where it keeps both.

    Args:
        probability: of losing one of them, 0 to 1.
        random: source of the draw.
    """
    return (CT, MR)[random.randint(2)] if random.uniform() < probability else None
