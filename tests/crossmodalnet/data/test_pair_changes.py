from collections import Counter

import numpy as np
import pytest

from crossmodalnet.data.pair_changes import CT, MR, draw_loss


@pytest.mark.parametrize(("probability", "expected"), [(0.0, {None: 900}), (1.0, {CT: 450, MR: 450})])
def test_losses_are_as_frequent_as_asked_for_and_equally_of_both(probability, expected):
    random = np.random.RandomState(0)
    found = Counter(draw_loss(probability, random) for _ in range(900))
    assert dict(found) == pytest.approx(expected, abs=60)
