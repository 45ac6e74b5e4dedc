import pytest

from crossmodalnet.theory.cost import check, fit_power, judge
from crossmodalnet.theory.findings import Verdict


def test_exponents_are_those_of_the_count_by_hand(make_subject, settings):
    outcome = check(make_subject(), settings)
    row = next(r for r in outcome.tables["attention_cost"] if r["kind"] == "full" and r["num_tokens"] == 1024)
    # three projections of 2 N d^2, two products of 2 N^2 d
    assert row["flops"] == 3 * 2 * 1024 * 32**2 + 2 * 2 * 1024**2 * 32
    assert outcome.findings[0].verdict is Verdict.HOLDS
    assert outcome.findings[0].numbers["windowed_tokens_exponent"] == pytest.approx(1)


def test_no_time_is_among_the_numbers(make_subject, settings):
    first, second = (check(make_subject(), settings).findings[0].numbers for _ in range(2))
    assert first == second


def test_a_cost_of_another_kind_fails():
    assert judge(1.0, 1.0, 1.0).verdict is Verdict.FAILS
    assert judge(2.0, 2.0, 1.0).verdict is Verdict.FAILS
    assert judge(1.95, 1.05, 1.0).verdict is Verdict.HOLDS


def test_power_laws_are_fitted_with_their_interval():
    exact = fit_power([1, 2, 4, 8], [3, 12, 48, 192])
    assert (exact.exponent, exact.low, exact.high) == pytest.approx((2, 2, 2))
    noisy = fit_power([1, 2, 4, 8], [1, 2.2, 3.8, 8.4])
    assert noisy.low < 1 < noisy.high
    assert noisy.high - noisy.low > 0.05


def test_without_cross_attention_it_does_not_apply(make_subject, settings):
    assert check(make_subject(streams="ct"), settings).findings[0].verdict is Verdict.NOT_APPLICABLE
