import numpy as np
import pytest

from crossmodalnet.imaging.geometry import class_extents


@pytest.mark.parametrize("order", ["C", "F"])
def test_each_class_has_its_block_however_the_voxels_lie_in_memory(order: str) -> None:
    labels = np.zeros((5, 6, 7), np.uint8, order)
    labels[1:3, 2:6, 4] = 2
    labels[4, 0, :2] = 5
    labels[0, 5, 1] = 5
    assert class_extents(labels) == {
        2: (slice(1, 3), slice(2, 6), slice(4, 5)),
        5: (slice(0, 5), slice(0, 6), slice(0, 2)),
    }


def test_background_has_none() -> None:
    assert class_extents(np.zeros((2, 3, 4), np.uint8)) == {}
