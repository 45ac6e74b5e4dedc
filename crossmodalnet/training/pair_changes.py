"""What training does to a pair of images as a pair: it takes one of them away, or displaces the MR."""

import numpy as np

from crossmodalnet.imaging.samples import CT, MR, Misregistration, random_misregistration
from crossmodalnet.training.augmentation_settings import AugmentationSettings


def draw_loss(probability: float, random: np.random.RandomState) -> int | None:
    """Draw the channel that a sample is to lose, `CT` or `MR` with equal chance; None where it keeps both.

    Args:
        probability: probability that a sample loses one of its images, 0 to 1.
        random: source of the draw.
    """
    return (CT, MR)[random.randint(2)] if random.uniform() < probability else None


def draw_misregistration(
    settings: AugmentationSettings, random: np.random.RandomState
) -> Misregistration | None:
    """Draw how far the MR of a sample is displaced against its CT; None where it stays.

    Args:
        settings: probability and largest amounts of the displacement; shift and angle are drawn uniformly from 0 to
            there.
        random: source of every draw.
    """
    if random.uniform() >= settings.displacement_probability:
        return None
    voxels = random.uniform(0, settings.displacement_voxels)
    return random_misregistration(voxels, random.uniform(0, settings.displacement_degrees), random)
