import numpy as np
import pytest

from crossmodalnet.phantom.shape import (
    MAX_LIPSCHITZ,
    Inside,
    SubjectShape,
    Waves,
    draw_shape,
    epicardial_radius,
    rotation_matrix,
    varied,
)


@pytest.fixture(scope="module")
def people():
    return [draw_shape(np.random.default_rng(seed)) for seed in range(12)]


def test_rotation_matrix_turns_x_into_y():
    turned = rotation_matrix(np.array([0, 0, np.pi / 2])) @ (1, 0, 0)
    np.testing.assert_allclose(turned, (0, 1, 0), atol=1e-12)


def test_mean_shape_only_scales():
    points = np.float32([[10], [-20], [30]])
    np.testing.assert_allclose(SubjectShape(scale=(2, 4, 5)).to_mean(points), [[5], [-5], [6]], atol=1e-5)


def test_turn_rotates_the_heart_and_leaves_the_chest_wall():
    shape = SubjectShape(scale=(1, 1, 1), turn=(0, 0, np.pi / 2))
    moved = shape.to_mean(np.float32([[20, 140], [0, 0], [5, 0]]))
    np.testing.assert_allclose(moved, [[0, 140], [20, 0], [5, 0]], atol=1e-4)


def test_waves_bound_their_own_slope():
    waves = Waves(np.array([[3.0, 0, 0], [0, 2, 0]]), np.array([[0, 0.1, 0], [0.05, 0, 0]]), np.zeros(2))
    assert waves.lipschitz == pytest.approx(0.4)
    points = np.random.default_rng(0).uniform(-100, 100, (3, 500)).astype(np.float32)
    step = points + np.float32([[0.5], [0.5], [0]])
    slope = np.linalg.norm(waves(step) - step - waves(points) + points, axis=0) / np.sqrt(0.5)
    assert slope.max() <= 0.4


def test_another_inside_keeps_the_epicardium(people):
    inside = Inside(wall=(0.5, 2.0), waves_mm=(1.0, 2.0))
    others = [varied(person, inside, np.random.default_rng(number)) for number, person in enumerate(people)]
    assert 0.5 <= min(other.sizes.wall for other in others) < 0.8
    assert 1.25 < max(other.sizes.wall for other in others) <= 2
    for person, other in zip(people, others, strict=True):
        assert epicardial_radius(other.sizes) == pytest.approx(epicardial_radius(person.sizes))
        assert other.layers[:-1] == person.layers
        assert other.layers[-1].lipschitz <= MAX_LIPSCHITZ + 1e-12


def test_every_layer_is_a_contraction_plus_identity(people):
    assert all(layer.lipschitz <= MAX_LIPSCHITZ + 1e-12 < 1 for person in people for layer in person.layers)


def test_people_differ_in_size_pose_and_shape(people):
    sizes = np.array([[*p.scale, p.sizes.lv_radius, p.sizes.wall, p.sizes.la] for p in people])
    spread = sizes.std(axis=0) / sizes.mean(axis=0)
    assert (spread > 0.02).all()
    assert (spread < 0.25).all()
    assert len({p.turn for p in people}) == len({p.layers[0].phases[0] for p in people}) == len(people)
