import numpy as np
import pytest
import torch
from scipy import ndimage

from crossmodalnet.imaging import samples
from crossmodalnet.imaging.samples import MISSING, Misregistration, apply_misregistration

NOWHERE = (0.0, 0.0, 0.0)


def test_padding_repeats_the_border_on_both_sides():
    padded = samples.pad_to(torch.tensor([1.0, 2.0]).reshape(1, 1, 1, 2), (1, 1, 5))
    assert padded.flatten().tolist() == [1, 1, 2, 2, 2]
    assert torch.equal(samples.pad_to(padded, (1, 1, 4)), padded)


def test_without_fills_one_channel_of_a_copy() -> None:
    image = torch.rand(3, 2, 4, 5, 6)
    without_mr = samples.without(image, 1)
    assert (without_mr[:, 1] == MISSING).all()
    assert torch.equal(without_mr[:, 0], image[:, 0])
    assert image.min() >= 0


def test_is_missing_per_sample() -> None:
    image = torch.rand(2, 2, 4, 5, 6)
    image[1] = samples.without(image[1], 0)
    assert samples.is_missing(image).tolist() == [[False, False], [True, False]]
    assert not samples.is_missing(torch.zeros(1, 2, 4, 4, 4)).any()  # a dark image


def test_unknown_channel_is_refused() -> None:
    with pytest.raises(ValueError, match="channel must be one of the input's 2, got 2"):
        samples.without(torch.rand(2, 4, 4, 4), 2)


def test_quarter_turn() -> None:
    image = torch.rand(1, 4, 9, 9)
    moved = apply_misregistration(image, Misregistration(NOWHERE, (90.0, 0.0, 0.0)))
    assert np.allclose(moved[0], np.rot90(image[0], axes=(1, 2)), atol=1e-5)


def test_shift_and_rotation_match_scipy() -> None:
    image = torch.from_numpy(ndimage.gaussian_filter(np.random.default_rng(0).random((10, 12, 14)), 1.0))
    shift, turn = (0.7, -1.2, 0.4), np.deg2rad(10)
    c, s = np.cos(turn), np.sin(turn)
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])  # about the last axis
    centre = (np.array(image.shape) - 1) / 2
    offset = centre - matrix.T @ (centre + shift)
    expected = ndimage.affine_transform(image.numpy(), matrix.T, offset, order=1, mode="nearest")
    moved = apply_misregistration(image[None], Misregistration(shift, (0.0, 0.0, 10.0)))[0].numpy()
    assert np.abs(moved - expected)[1:-1, 1:-1, 1:-1].max() < 1e-6


def test_random_misregistration_has_given_lengths() -> None:
    random = np.random.RandomState(0)
    drawn = [samples.random_misregistration(3.0, 10.0, random) for _ in range(200)]
    assert all(np.linalg.norm(d.shift_voxels) == pytest.approx(3) for d in drawn)
    assert all(np.linalg.norm(d.rotation_degrees) == pytest.approx(10) for d in drawn)
    assert np.linalg.norm(np.mean([d.shift_voxels for d in drawn], axis=0)) < 0.5


def test_origins_invert_the_misregistration() -> None:
    # A quarter turn about d takes h to w, so what came to w from h is found at h.
    displacement = Misregistration((1.0, 0.0, 2.0), (90.0, 0.0, 0.0))
    found = samples.origins(torch.tensor([[1.0, 0.0, 5.0]]), displacement)
    assert torch.allclose(found, torch.tensor([[0.0, 3.0, 0.0]]), atol=1e-6)
