from itertools import permutations, product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from crossmodalnet.imaging.geometry import reoriented, reoriented_grid
from crossmodalnet.imaging.volume import Volume


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product((1, -1), repeat=3)))
def test_any_order_and_direction_of_axes_comes_back(axes: tuple[int, ...], flips: tuple[int, ...]) -> None:
    """An oblique volume is turned by hand: voxel (i, j, k) is at the same place in both."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [10, -15, 20], degrees=True).as_matrix() @ np.diag(
        [0.5, 0.8, 2.0]
    )
    affine[:3, 3] = (5, -7, 11)
    original = Volume(np.arange(4 * 5 * 6).reshape(4, 5, 6), affine)
    data, matrix = original.data, original.affine.copy()
    for axis, flip in enumerate(flips):
        if flip < 0:
            data = np.flip(data, axis)
            matrix[:3, 3] += matrix[:3, axis] * (data.shape[axis] - 1)
            matrix[:3, axis] *= -1
    turned = Volume(data.transpose(axes), matrix[:, [*axes, 3]])
    found = reoriented(turned, original.grid)
    assert np.array_equal(found.data, original.data)
    assert np.allclose(found.affine, original.affine)
    assert reoriented_grid(turned.grid, original.grid).same_as(original.grid)
