import numpy as np
import pytest

from crossmodalnet.phantom import primitives


def columns(*points):
    return np.array(points, np.float32).T


def test_ellipsoid_with_equal_radii_is_a_sphere():
    distance = primitives.ellipsoid(columns((5, 2, 3), (1, 2, 9), (1, 2, 3.5)), (1, 2, 3), (2, 2, 2))
    np.testing.assert_allclose(distance, [2, 4, -1.5], atol=1e-5)


def test_ellipsoid_is_zero_at_its_poles_and_of_slope_one_there():
    poles = columns((4, 0, 0), (0, -7, 0), (0, 0, 2))
    outside = columns((4.1, 0, 0), (0, -7.1, 0), (0, 0, 2.1))
    np.testing.assert_allclose(primitives.ellipsoid(poles, (0, 0, 0), (4, 7, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(primitives.ellipsoid(outside, (0, 0, 0), (4, 7, 2)), 0.1, atol=0.01)


def test_half_space_is_negative_behind_its_plane():
    distance = primitives.half_space(columns((1, 0, 5), (1, 0, 1)), (0, 0, 2), (0, 0, 10))
    np.testing.assert_allclose(distance, [3, -1], atol=1e-6)


def test_tube_is_a_capsule_whose_radius_changes_along_it():
    points = columns((0, 0, 6), (5, 0, 6), (13, 0, 0), (0, 0, -3))
    distance = primitives.tube(points, [(0, 0, 0), (10, 0, 0)], [2, 1])
    np.testing.assert_allclose(distance, [4, 4.5, 2, 1], atol=1e-5)


def test_tube_far_away_is_cut_off():
    assert primitives.tube(columns((500, 0, 0)), [(0, 0, 0), (10, 0, 0)], [2, 2]) == primitives.FAR_MM


def test_spline_meets_its_knots():
    curve = primitives.spline([(0, 0), (1, 5), (3, 4)], 5)
    np.testing.assert_allclose(curve[[0, 2, 4]], [(0, 0), (1, 5), (3, 4)], atol=1e-12)


def test_smooth_union_adds_a_quarter_of_the_blend_at_the_crease_only():
    union = primitives.smooth_union(np.float32([1, 3]), np.float32([1, -20]), 4)
    np.testing.assert_allclose(union, [0, -20], atol=1e-6)


def test_without_keeps_the_gap():
    distance = primitives.without(np.float32([-5, -5]), np.float32([1, 9]), gap_mm=2)
    np.testing.assert_allclose(distance, [1, -5])


@pytest.mark.parametrize(("distance", "share"), [(-9, 1), (9, 0), (0, 0.5), (0.5, 0.25)])
def test_a_body_is_painted_by_its_share_of_a_voxel(distance, share):
    image = np.zeros(1)
    primitives.paint(image, np.float32([distance]), 1.0, 2.0)
    assert image[0] == pytest.approx(share)


def test_smooth_noise_is_standardised_and_as_coarse_as_asked():
    noise = primitives.smooth_noise(np.random.default_rng(0), (40, 30, 25), (2.0, 2.0, 3.0), 12.0)
    assert noise.shape == (40, 30, 25)
    assert abs(noise.std() - 1) < 0.35
    neighbours = np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]
    distant = np.corrcoef(noise[18:].ravel(), noise[:-18].ravel())[0, 1]
    assert neighbours > 0.85
    assert abs(distant) < 0.3
