from pathlib import Path

import ants
import numpy as np
import pytest

from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.ants import Centre, write_translation


@pytest.mark.parametrize(
    ("centre", "fixed_mm", "moving_mm"),
    [("centre_of_mass", (-2, 2, 4), (501, 30, 5)), ("geometric_centre", (-9, 9, 9), (504.5, 25.5, 4.5))],
)
def test_the_fixed_centre_goes_to_the_moving_centre(
    centre: Centre, fixed_mm: tuple[float, ...], moving_mm: tuple[float, ...], tmp_path: Path
) -> None:
    fixed, moving = np.zeros((10, 10, 10), np.float32), np.zeros((10, 10, 10), np.float32)
    fixed[1, 1, 2] = 1
    moving[1, 9, 5] = 1
    write_translation(
        Volume(fixed, np.diag([-2.0, 2, 2, 1])),
        Volume(moving, np.array([[1, 0, 0, 500], [0, 1, 0, 21], [0, 0, 1, 0], [0, 0, 0, 1.0]])),
        centre,
        tmp_path / "t.mat",
    )
    transform = ants.read_transform(str(tmp_path / "t.mat"))
    to_lps = np.array([-1, -1, 1])
    moved = np.array(transform.apply_to_point(tuple(to_lps * fixed_mm))) * to_lps
    np.testing.assert_allclose(moved, moving_mm, atol=1e-4)


def test_the_shift_is_towards_the_head(tmp_path: Path) -> None:
    cube = Volume(np.ones((4, 4, 4), np.float32), np.eye(4))
    write_translation(cube, cube, "centre_of_mass", tmp_path / "t.mat", up_mm=40)
    transform = ants.read_transform(str(tmp_path / "t.mat"))
    np.testing.assert_allclose(transform.apply_to_point((-1.0, -2.0, 3.0)), (-1, -2, 43), atol=1e-4)
