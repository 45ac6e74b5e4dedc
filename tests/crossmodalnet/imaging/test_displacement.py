import numpy as np
import pytest
import torch
from scipy import ndimage

from crossmodalnet.imaging.samples import (
    Misregistration,
    apply_misregistration,
    origins,
    random_misregistration,
)

NOWHERE = (0.0, 0.0, 0.0)


def test_a_shift_by_whole_voxels_moves_the_content() -> None:
    image = torch.rand(2, 6, 7, 8)
    moved = apply_misregistration(image, Misregistration((1.0, 0.0, -2.0), NOWHERE))
    assert torch.allclose(moved[:, 1:, :, :-2], image[:, :-1, :, 2:], atol=1e-5)


def test_a_quarter_turn_about_the_first_axis() -> None:
    image = torch.rand(1, 4, 9, 9)
    moved = apply_misregistration(image, Misregistration(NOWHERE, (90.0, 0.0, 0.0)))
    expected = np.rot90(image[0].numpy(), axes=(1, 2))
    assert np.allclose(moved[0].numpy(), expected, atol=1e-5)


def test_shift_and_rotation_together_are_those_of_scipy() -> None:
    image = torch.from_numpy(ndimage.gaussian_filter(np.random.default_rng(0).random((10, 12, 14)), 1.0))
    shift, turn = (0.7, -1.2, 0.4), np.deg2rad(10)
    c, s = np.cos(turn), np.sin(turn)
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])  # about the last axis
    centre = (np.array(image.shape) - 1) / 2
    offset = centre - matrix.T @ (centre + shift)
    expected = ndimage.affine_transform(image.numpy(), matrix.T, offset, order=1, mode="nearest")
    moved = apply_misregistration(image[None], Misregistration(shift, (0.0, 0.0, 10.0)))[0].numpy()
    assert np.abs(moved - expected)[1:-1, 1:-1, 1:-1].max() < 1e-6


def test_lengths_are_those_asked_for_and_directions_vary() -> None:
    random = np.random.RandomState(0)
    drawn = [random_misregistration(3.0, 10.0, random) for _ in range(200)]
    assert all(np.linalg.norm(d.shift_voxels) == pytest.approx(3) for d in drawn)
    assert all(np.linalg.norm(d.rotation_degrees) == pytest.approx(10) for d in drawn)
    assert np.linalg.norm(np.mean([d.shift_voxels for d in drawn], axis=0)) < 0.5


def test_origins_undo_the_rotation_after_the_shift() -> None:
    # A quarter turn about d takes h to w, so what came to w from h is found at h.
    displacement = Misregistration((1.0, 0.0, 2.0), (90.0, 0.0, 0.0))
    found = origins(torch.tensor([[1.0, 0.0, 5.0]]), displacement)
    assert torch.allclose(found, torch.tensor([[0.0, 3.0, 0.0]]), atol=1e-6)
