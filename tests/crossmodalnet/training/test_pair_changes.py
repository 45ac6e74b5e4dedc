from collections import Counter

import numpy as np
import pytest

from crossmodalnet.imaging.samples import CT, MR
from crossmodalnet.training.config import AugmentationSettings
from crossmodalnet.training.dataset import draw_loss, draw_misregistration


@pytest.mark.parametrize(("probability", "expected"), [(0.0, {None: 900}), (1.0, {CT: 450, MR: 450})])
def test_losses_are_as_frequent_as_asked_for_and_equally_of_both(probability, expected):
    random = np.random.RandomState(0)
    found = Counter(draw_loss(probability, random) for _ in range(900))
    assert dict(found) == pytest.approx(expected, abs=60)


def _misregistrations(probability, count=900):
    settings = AugmentationSettings(
        0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, (1.0, 1.0), 0.0, 0.0, 0.0, 0.0, 0.0, probability, 4.0, 10.0
    )  # fmt: skip
    random = np.random.RandomState(0)
    return [draw_misregistration(settings, random) for _ in range(count)]


@pytest.mark.parametrize(("probability", "expected"), [(0.0, 0), (0.3, 270), (1.0, 900)])
def test_misregistrations_are_as_frequent_as_asked_for(probability, expected):
    found = sum(drawn is not None for drawn in _misregistrations(probability))
    assert found == pytest.approx(expected, abs=55 if 0 < probability < 1 else 0)


def test_shift_and_angle_are_uniform_from_none_to_the_largest():
    drawn = [d for d in _misregistrations(1.0) if d is not None]
    for vectors, largest in (
        ([d.shift_voxels for d in drawn], 4.0),
        ([d.rotation_degrees for d in drawn], 10.0),
    ):
        lengths = np.linalg.norm(vectors, axis=1) / largest
        assert lengths.max() <= 1
        # Quartiles of 900 uniform numbers have a standard deviation below 0.017.
        np.testing.assert_allclose(np.quantile(lengths, (0.25, 0.5, 0.75)), (0.25, 0.5, 0.75), atol=0.07)
