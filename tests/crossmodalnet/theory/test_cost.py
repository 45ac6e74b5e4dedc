import pytest

from crossmodalnet.theory.cost import check, fit_power, judge
from crossmodalnet.theory.findings import Verdict
from tests.crossmodalnet.theory.subjects import QUICK, make_subject


def test_operations_are_those_counted_by_hand_and_no_number_is_a_time():
    first, second = (check(make_subject(), QUICK) for _ in range(2))
    row = next(r for r in first.tables["attention_cost"] if r["kind"] == "full" and r["num_tokens"] == 1024)
    # three projections of 2 N d^2, two products of 2 N^2 d
    assert row["flops"] == 3 * 2 * 1024 * 32**2 + 2 * 2 * 1024**2 * 32
    assert first.findings[0].verdict is Verdict.HOLDS
    assert first.findings[0].numbers["windowed_tokens_exponent"] == pytest.approx(1)
    assert first.findings == second.findings


def test_other_exponents_fail():
    assert judge(1.0, 1.0, 1.0).verdict is Verdict.FAILS
    assert judge(2.0, 2.0, 1.0).verdict is Verdict.FAILS
    assert judge(1.95, 1.05, 1.0).verdict is Verdict.HOLDS


def test_power_laws_are_fitted_with_their_interval():
    assert fit_power([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx((2, 2, 2))
    _, low, high = fit_power([1, 2, 4, 8], [1, 2.2, 3.8, 8.4])
    assert low < 1 < high
    assert high - low > 0.05
