import numpy as np
import pytest

from crossmodalnet.metrics.statistics import RankStability, rank_stability


def stability(values: np.ndarray, higher: bool = True, num_samples: int = 500) -> list[RankStability]:
    return rank_stability(np.asarray(values, float), higher_is_better=higher, num_samples=num_samples, seed=0)


def test_a_clearly_better_method_is_always_first() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.02, (4, 12))
    values[2] += 0.1
    for found, higher in ((stability(values)[2], True), (stability(-values, higher=False)[2], False)):
        assert (found.rank, found.low, found.high, found.share_first) == (1, 1, 1, 1), higher


def test_direction_turns_the_ranks() -> None:
    values = np.array([[3.0, 3], [1, 1], [2, 2]])
    assert [s.rank for s in stability(values)] == [1, 3, 2]
    assert [s.rank for s in stability(values, higher=False)] == [3, 1, 2]


def test_identical_methods_share_the_first_place() -> None:
    row = np.random.default_rng(1).random(9)
    found = stability(np.stack([row, row - 1, row, row[::-1]]))
    # The reversed row has the same mean, summed in another order, but other subjects are in a sample.
    assert [s.rank for s in found] == [2, 4, 2, 2]
    assert found[0] == found[2]
    assert sum(s.share_first for s in found) == pytest.approx(1)
    same = stability(np.stack([row, row, row]))
    assert [(s.rank, s.low, s.high) for s in same] == [(2, 2, 2)] * 3
    assert [s.share_first for s in same] == pytest.approx([1 / 3] * 3)


def test_equally_good_methods_are_first_equally_often_on_average() -> None:
    rng = np.random.default_rng(2)
    shares = [
        [s.share_first for s in stability(rng.normal(size=(3, 10)), num_samples=60)] for _ in range(400)
    ]
    # The share of one data set varies by about 0.35; the mean of 400 of them by 0.018.
    assert np.mean(shares, axis=0) == pytest.approx([1 / 3] * 3, abs=0.055)


def test_interval_against_all_samples_of_two_subjects() -> None:
    # A sample holds subject 0 twice (1/4), 1 twice (1/4) or both (1/2): method 0 ranks 1, 2 and ties.
    first, second = stability(np.array([[1.0, 0.0], [0.0, 1.0]]), num_samples=4000)
    assert (first.rank, first.low, first.high) == (1.5, 1, 2)
    assert first.share_first == pytest.approx(0.5, abs=0.03)
    assert first.share_first + second.share_first == pytest.approx(1)


def test_subjects_undefined_for_any_method_are_left_out_for_all() -> None:
    values = np.random.default_rng(3).random((3, 6))
    with_gaps = values.copy()
    with_gaps[0, 1] = with_gaps[2, 4] = np.nan
    assert stability(with_gaps) == stability(values[:, [0, 2, 3, 5]])


def test_values_are_checked() -> None:
    with pytest.raises(ValueError, match=r"\(num_methods, num_subjects\), got shape \(3,\)"):
        stability(np.ones(3))
    with pytest.raises(ValueError, match="defined for all methods"):
        stability(np.array([[np.nan, 1], [1, np.nan]]))
