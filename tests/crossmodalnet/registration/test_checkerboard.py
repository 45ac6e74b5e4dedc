from pathlib import Path

import numpy as np
from PIL import Image

from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.quality import checkerboard, write_checkerboard

AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])


def test_tiles_alternate_between_grey_ct_and_warm_mr() -> None:
    ct, mr = (Volume(np.full((80, 80, 80), value, np.float32), AFFINE) for value in (0.4, 1.0))
    picture = checkerboard(ct, mr)
    assert picture.shape == (144, 3 * 144 + 8, 3)
    assert picture[3, 3].tolist() == [102, 102, 102]
    assert picture[3, 20].tolist() == [255, 209, 158]
    assert picture[20, 20].tolist() == [102, 102, 102]


def test_anterior_is_up_and_the_patients_left_is_right() -> None:
    ct = np.zeros((80, 80, 80), np.float32)
    ct[41:, 41:, :] = 1
    axial = checkerboard(Volume(ct, AFFINE), Volume(np.full_like(ct, 1e-6), AFFINE))[:, :144]
    assert axial[3, 3].tolist() == [
        255,
        255,
        255,
    ]  # +x, patient right, is drawn left; +y, anterior, is drawn up
    assert not axial[140:, :].any()
    assert not axial[:, 140:].any()


def test_the_file_is_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(size=(64, 64, 64)).astype(np.float32)
    write_checkerboard(tmp_path / "a.png", Volume(noise, AFFINE), Volume(noise, AFFINE))
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (440, 144)
    assert (tmp_path / "a.png").stat().st_size < 150_000
