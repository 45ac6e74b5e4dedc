from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from crossmodalnet.registration import diffeomorphic as ours
from crossmodalnet.registration.diffeomorphic import Lattice, Scene, compose, deform, invert

STEPS = [40]
LATTICE = Lattice(np.zeros(3), (28, 26, 24), 2.0)
SMALL = (9, 12, 10)
INDICES = Lattice(np.zeros(3), SMALL, 1.0).indices()
GAUSSIAN = partial(ndimage.gaussian_filter, sigma=1.5, radius=4)


def _ball(centre: tuple[float, float, float], radius: float, inside: float, outside: float) -> torch.Tensor:
    distance = (LATTICE.indices() - torch.tensor(centre).reshape(3, 1, 1, 1)).norm(dim=0)
    return (outside + (inside - outside) * torch.sigmoid(2 * (radius - distance)))[None]


def _scene(fixed: torch.Tensor, moving: torch.Tensor) -> Scene:
    return Scene(LATTICE, fixed, moving, torch.ones_like(fixed))


# A ball, and a larger one of the opposite contrast elsewhere.
FIXED, MOVING = _ball((14, 13, 12), 6, 0.9, 0.2), _ball((12, 14, 12), 7.5, 0.1, 0.8)


def _folds(field: torch.Tensor) -> int:
    gradients = torch.stack([torch.stack(torch.gradient(field[a], dim=(0, 1, 2))) for a in range(3)])
    jacobian = gradients.permute(2, 3, 4, 0, 1) + torch.eye(3)
    return int((torch.linalg.det(jacobian) <= 0).sum())


def test_equal_images_stay() -> None:
    ball = _ball((14, 13, 12), 6, 1.0, 0.2)
    forward, back = deform([_scene(ball, ball)], STEPS)
    assert float(forward.abs().max()) < 0.05
    assert float(back.abs().max()) < 0.05


def test_a_ball_meets_a_larger_one_of_the_opposite_contrast_elsewhere() -> None:
    forward, back = deform([_scene(FIXED, MOVING)], STEPS)
    indices = LATTICE.indices()
    for axis, (here, there) in enumerate([((20, 13, 12), 19.5), ((14, 19, 12), 21.5), ((14, 13, 18), 19.5)]):
        moved = indices[(slice(None), *here)] + forward[(slice(None), *here)]
        assert abs(float(moved[axis]) - there) < 0.75
    assert _folds(forward) == _folds(back) == 0
    assert float(compose(forward, back, indices)[:, 3:-3, 3:-3, 3:-3].abs().max()) < 0.2


def test_what_the_moving_image_does_not_show_pulls_nothing() -> None:
    forward, _ = deform([Scene(LATTICE, FIXED, MOVING, seen=torch.zeros_like(FIXED))], STEPS)
    assert not forward.any()


def test_same_images_same_bytes() -> None:
    first, second = (deform([_scene(FIXED, MOVING)], STEPS)[0] for _ in range(2))
    assert first.numpy().tobytes() == second.numpy().tobytes()


def test_sampling_is_scipys() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=SMALL).astype(np.float32)
    places = rng.uniform(-2, 12, (3, 4, 5, 6)).astype(np.float32)
    found = ours.sample(torch.from_numpy(values)[None], torch.from_numpy(places))[0]
    expected = ndimage.map_coordinates(values, places, order=1, mode="nearest")
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("kernel", "zero", "by_scipy"),
    [
        (ours.gaussian_kernel(1.5), True, partial(GAUSSIAN, mode="constant")),
        (ours.gaussian_kernel(1.5), False, partial(GAUSSIAN, mode="nearest")),
        (ours.mean_kernel(2), False, partial(ndimage.uniform_filter, size=5, mode="nearest")),
    ],
)
def test_smoothing_is_scipys(kernel: Any, zero: bool, by_scipy: Any) -> None:
    values = np.random.default_rng(1).normal(size=(2, *SMALL)).astype(np.float32)
    found = ours.Smoother(SMALL, kernel, zero_past_border=zero)(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found, [by_scipy(channel) for channel in values], atol=1e-5)


def test_a_field_then_its_inverse_is_nothing() -> None:
    i, j, k = INDICES
    bump = torch.exp(-((i - 4) ** 2 + (j - 6) ** 2 + (k - 5) ** 2) / 6)
    field = torch.stack([1.2 * bump, -0.8 * bump, 0.5 * bump])
    inverse = invert(field, INDICES)
    assert float(compose(inverse, field, INDICES).abs().max()) < 1e-3
    # The other way round linear interpolation of a narrow bump leaves its error.
    assert float(compose(field, inverse, INDICES).abs().mean()) < 0.02


def test_the_inverse_of_a_steep_field_has_no_folds() -> None:
    # Along the first axis the field stretches four voxels to sixteen; a damped plain iteration jumps to and fro there.
    indices = Lattice(np.zeros(3), (45, 12, 12), 1.0).indices()
    place = np.arange(45)
    moved = np.interp(place, [0, 20, 24, 44], [0, -6, 6, 0])
    field = torch.zeros_like(indices)
    field[0] = torch.from_numpy(moved).float()[:, None, None]
    inverse = invert(field, indices)
    assert float(compose(inverse, field, indices).abs().max()) < 1e-3
    expected = np.interp(place, place + moved, place) - place  # of a rising curve, axes exchanged
    np.testing.assert_allclose(inverse[0, :, 5, 5].numpy(), expected, atol=2e-3)
    assert float((1 + torch.gradient(inverse[0], dim=0)[0]).min()) > 0.2


@pytest.mark.parametrize(
    "field",
    [
        torch.from_numpy(np.random.default_rng(2).normal(size=(3, *SMALL)).astype(np.float32)) * 4,
        torch.stack([5.0 - INDICES[0], *torch.zeros(2, *SMALL)]),  # the Jacobian is singular everywhere
    ],
    ids=["folds", "all voxels to one plane"],
)
def test_a_field_that_has_no_inverse_gets_a_finite_one(field: torch.Tensor) -> None:
    assert invert(field, INDICES).isfinite().all()


def test_a_linear_field_is_the_same_on_another_lattice() -> None:
    old, new = Lattice(np.zeros(3), (9, 9, 9), 4.0), Lattice(np.array([6.0, 5, 7]), (8, 8, 8), 2.0)
    matrix = torch.tensor([[0.1, 0.05, 0], [0, -0.1, 0.02], [0.03, 0, 0.2]])

    def in_voxels(lattice: Lattice) -> torch.Tensor:
        low = torch.from_numpy(lattice.low_mm / lattice.spacing_mm).float().reshape(3, 1, 1, 1)
        return torch.einsum("ab,bijk->aijk", matrix, lattice.indices() + low)

    torch.testing.assert_close(ours.carry(in_voxels(old), old, new), in_voxels(new), atol=1e-4, rtol=0)


def test_a_lattice_lies_over_its_box() -> None:
    lattice = ours.lattice_over(np.array([-10.0, 0, 5]), np.array([30.0, 50, 45]), 4.0)
    assert lattice.shape == (10, 13, 10)
    np.testing.assert_allclose(lattice.grid.to_world(np.array([[4.5], [6], [4.5]])).ravel(), (10, 25, 25))
