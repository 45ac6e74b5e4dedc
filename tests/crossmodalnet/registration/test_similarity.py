import numpy as np
import pytest

from crossmodalnet.registration.ants import mutual_information


def test_of_a_fair_coin_with_itself_is_one_bit() -> None:
    coin = np.array([0, 1] * 50, np.float32)
    assert mutual_information(coin, coin) == pytest.approx(np.log(2))
    assert mutual_information(coin, 1 - coin) == pytest.approx(np.log(2))


def test_of_independent_values_is_zero() -> None:
    a, b = np.array([0, 0, 1, 1] * 9, np.float32), np.array([0, 1, 0, 1] * 9, np.float32)
    assert mutual_information(a, b) == pytest.approx(0, abs=1e-12)


def test_of_a_noisy_channel_matches_its_table() -> None:
    # Joint counts [[3, 1], [1, 3]] of 8: marginals are even.
    a = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)
    b = np.array([0, 0, 0, 1, 0, 1, 1, 1], np.float32)
    assert mutual_information(a, b) == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5))


def test_of_nothing_is_zero() -> None:
    assert mutual_information(np.zeros(0, np.float32), np.zeros(0, np.float32)) == 0
