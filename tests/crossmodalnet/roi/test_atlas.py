from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.roi.atlas import Atlas, load_atlases, make_atlas, save_atlases

AFFINE = np.array([[0.0, 2.1, 0, -7], [-2.1, 0, 0, 1 / 3], [0, 0, 3, 5], [0, 0, 0, 1]])


def atlas(seed: int) -> Atlas:
    rng = np.random.default_rng(seed)
    image = Volume(rng.uniform(-1000, 500, (20, 18, 12)).astype(np.float32), AFFINE)
    label = np.zeros(image.data.shape, np.uint8)
    label[6:12, 5:11, 4:8] = rng.integers(1, 8, (6, 6, 4))
    return make_atlas(image, Volume(label, AFFINE), Modality.CT, spacing_mm=6.0)


def test_an_atlas_is_coarse_and_says_nothing_of_structures() -> None:
    made = atlas(0)
    assert made.image.spacing_mm == pytest.approx((6, 6, 6))
    assert 0 <= made.image.data.min() <= made.image.data.max() <= 1
    assert 0 < made.heart.data.max() <= 1


def test_atlases_come_back_bit_for_bit(tmp_path: Path) -> None:
    written = [atlas(seed) for seed in range(3)]
    save_atlases(tmp_path / "a.safetensors", written)
    for one, other in zip(written, load_atlases(tmp_path / "a.safetensors"), strict=True):
        for part in ("image", "heart"):
            a, b = getattr(one, part), getattr(other, part)
            np.testing.assert_array_equal(a.data, b.data)
            np.testing.assert_array_equal(a.affine, b.affine)


@pytest.mark.parametrize(
    "change",
    [
        {"0.heart": np.zeros((2, 2), np.float32)},
        {"0.heart": np.zeros((2, 2, 2), np.float64)},
        {"0.heart": np.full((2, 2, 2), np.nan, np.float32)},
        {"0.heart.affine": np.zeros((4, 4))},
        {"0.heart.affine": np.eye(3)},
        {"extra": np.zeros(1)},
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    path = tmp_path / "a.safetensors"
    sound = {name: np.zeros((2, 2, 2), np.float32) for name in ("0.image", "0.heart")}
    affines = {f"{name}.affine": np.eye(4) for name in sound}
    save_file(sound | affines | change, path)
    with pytest.raises(ValueError, match=r"a\.safetensors holds no atlases"):
        load_atlases(path)


def test_a_damaged_or_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(FileNotFoundError):
        load_atlases(path)
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match=r"a\.safetensors holds no atlases"):
        load_atlases(path)
