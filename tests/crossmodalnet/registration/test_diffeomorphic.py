import numpy as np
import torch

from crossmodalnet.registration.diffeomorphic import Flow, Lattice, Level, Scene, compose, deform

SHAPE = (28, 26, 24)
FLOW = Flow((Level(2.0, 40),))
LATTICE = Lattice(np.zeros(3), SHAPE, 2.0)


def _ball(centre: tuple[float, float, float], radius: float, inside: float, outside: float) -> torch.Tensor:
    i, j, k = LATTICE.indices()
    distance = ((i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (k - centre[2]) ** 2).sqrt()
    return (outside + (inside - outside) * torch.sigmoid(2 * (radius - distance)))[None]


def _scene(fixed: torch.Tensor, moving: torch.Tensor) -> Scene:
    return Scene(LATTICE, fixed, moving, torch.ones_like(fixed))


def _folds(field: torch.Tensor) -> int:
    gradients = torch.stack([torch.stack(torch.gradient(field[a], dim=(0, 1, 2))) for a in range(3)])
    jacobian = gradients.permute(2, 3, 4, 0, 1) + torch.eye(3)
    return int((torch.linalg.det(jacobian) <= 0).sum())


def test_equal_images_stay() -> None:
    ball = _ball((14, 13, 12), 6, 1.0, 0.2)
    forward, back = deform([_scene(ball, ball)], FLOW)
    assert float(forward.abs().max()) < 0.05
    assert float(back.abs().max()) < 0.05


def test_a_ball_meets_a_larger_one_of_the_opposite_contrast_elsewhere() -> None:
    fixed, moving = _ball((14, 13, 12), 6, 0.9, 0.2), _ball((12, 14, 12), 7.5, 0.1, 0.8)
    forward, back = deform([_scene(fixed, moving)], FLOW)
    indices = LATTICE.indices()
    for axis, (here, there) in enumerate([((20, 13, 12), 19.5), ((14, 19, 12), 21.5), ((14, 13, 18), 19.5)]):
        moved = indices[(slice(None), *here)] + forward[(slice(None), *here)]
        assert abs(float(moved[axis]) - there) < 0.75
    assert _folds(forward) == _folds(back) == 0
    assert float(compose(forward, back, indices)[:, 3:-3, 3:-3, 3:-3].abs().max()) < 0.2


def test_what_the_moving_image_does_not_show_pulls_nothing() -> None:
    fixed, moving = _ball((14, 13, 12), 6, 0.9, 0.2), _ball((12, 14, 12), 7.5, 0.9, 0.2)
    unseen = Scene(LATTICE, fixed, moving, torch.zeros_like(fixed))
    forward, _ = deform([unseen], FLOW)
    assert not forward.any()


def test_same_images_same_bytes() -> None:
    fixed, moving = _ball((14, 13, 12), 6, 0.9, 0.2), _ball((12, 14, 12), 7.5, 0.1, 0.8)
    first, second = (deform([_scene(fixed, moving)], FLOW)[0] for _ in range(2))
    assert first.numpy().tobytes() == second.numpy().tobytes()
