import numpy as np
import pytest

from crossmodalnet.theory.entropy_bound import (
    gaussian_entropy,
    plug_in_entropy,
    plug_in_information,
    rank_codes,
)


def test_codes_by_ranks():
    assert rank_codes(np.array([30.0, -1.0, 2.0, 8.0]), 2).tolist() == [1, 0, 0, 1]
    assert rank_codes(np.array([0.0, 0.0, 0.0, 8.0]), 4).tolist() == [1, 1, 1, 3]


def test_entropy_by_hand():
    assert plug_in_entropy(np.array([5, 5, 7, 9])) == pytest.approx(1.5 * np.log(2))
    assert plug_in_entropy(np.array([3, 3])) == 0


def test_information_by_hand():
    a, b = np.array([0, 0, 1, 1]), np.array([4, 4, 9, 9])
    assert plug_in_information(a, b) == pytest.approx(np.log(2))
    assert plug_in_information(a, np.array([0, 1, 0, 1])) == pytest.approx(0)
    # Joint shares 1/2, 1/4, 1/4 of (0, 0), (1, 0), (1, 1).
    expected = np.log(4 / 3) / 2 + np.log(2 / 3) / 4 + np.log(2) / 4
    assert plug_in_information(a, np.array([0, 0, 0, 1])) == pytest.approx(expected)


def test_entropy_of_a_gaussian_follows_its_unit():
    x = np.random.default_rng(0).standard_normal((100_000, 2))
    assert gaussian_entropy(x) == pytest.approx(np.log(2 * np.pi * np.e), abs=0.02)
    assert gaussian_entropy(x * 1e-3) == pytest.approx(gaussian_entropy(x) + 2 * np.log(1e-3))
    assert np.isfinite(gaussian_entropy(np.ones((4, 1))))
