import numpy as np
import pytest

from crossmodalnet.theory.information import JackknifeEstimate, leave_one_out

VALUES = np.array([[1.0, 10.0], [2.0, 14.0], [6.0, 12.0]])


def _mean(cases: list[int]) -> np.ndarray:
    return VALUES[cases].mean(axis=0)


def test_interval_of_a_mean_is_that_of_student():
    # Mean 3, standard deviation sqrt(7); t with 2 degrees of freedom is 4.302653.
    low, high = leave_one_out(_mean, 3).interval
    half = 4.302653 * np.sqrt(7 / 3)
    assert (low[0], high[0]) == pytest.approx((3 - half, 3 + half))


def test_changes_and_differences_are_paired():
    found = leave_one_out(_mean, 3)
    # Differences per case: 9, 12, 6.
    low, high = found.change.interval
    assert (low[0], high[0]) == pytest.approx((9 - 4.302653 * np.sqrt(3), 9 + 4.302653 * np.sqrt(3)))
    same = found.minus(found)
    assert same.pooled.tolist() == [0, 0]
    assert same.interval[0].tolist() == [0, 0]


def test_a_single_case_has_no_interval_and_no_significance():
    found = leave_one_out(lambda cases: np.array([-2.0, 3.0]), 1)
    assert not found.certain
    assert found.interval[0].tolist() == found.interval[1].tolist() == [-2, 3]
    assert not found.below().any()
    assert not found.change.above().any()


def test_what_lies_above_and_below():
    found = JackknifeEstimate(
        np.array([-1.0, 0.0, 1.0]), np.array([[-1.0, 0.0, 1.0], [-1.001, 0.001, 1.001]])
    )
    assert found.below().tolist() == [True, False, False]
    assert found.above().tolist() == [False, False, True]
