import numpy as np
import pytest

from crossmodalnet.theory import entropy_bound
from crossmodalnet.theory.findings import Verdict

GIVEN = {
    "information": 0.5, "entropy_ct": 2.0, "entropy_mr": 1.5, "continuous_information": 0.8,
    "continuous_entropy": 3.0, "rescaled_information": 0.8, "rescaled_entropy": 1.0,
}  # fmt: skip


def _judged(layer, bound):
    return entropy_bound.judge_corollary_1({"embedding": GIVEN, layer: bound})


def _bound(scale):
    rng = np.random.default_rng(0)
    ct = rng.standard_normal((800, 1))
    return entropy_bound.entropy_bound(scale * ct, scale * (ct + rng.standard_normal(ct.shape)))


def test_codes_by_ranks():
    assert entropy_bound.rank_codes(np.array([30.0, -1.0, 2.0, 8.0]), 2).tolist() == [1, 0, 0, 1]
    assert entropy_bound.rank_codes(np.array([0.0, 0.0, 0.0, 8.0]), 4).tolist() == [1, 1, 1, 3]


def test_entropy_by_hand():
    assert entropy_bound.plug_in_entropy(np.array([5, 5, 7, 9])) == pytest.approx(1.5 * np.log(2))
    assert entropy_bound.plug_in_entropy(np.array([3, 3])) == 0


def test_information_by_hand():
    a, b = np.array([0, 0, 1, 1]), np.array([4, 4, 9, 9])
    assert entropy_bound.plug_in_information(a, b) == pytest.approx(np.log(2))
    assert entropy_bound.plug_in_information(a, np.array([0, 1, 0, 1])) == pytest.approx(0)
    # Joint shares 1/2, 1/4, 1/4 of (0, 0), (1, 0), (1, 1).
    expected = np.log(4 / 3) / 2 + np.log(2 / 3) / 4 + np.log(2) / 4
    assert entropy_bound.plug_in_information(a, np.array([0, 0, 0, 1])) == pytest.approx(expected)


def test_entropy_of_a_gaussian_follows_its_unit():
    x = np.random.default_rng(0).standard_normal((100_000, 2))
    entropy = entropy_bound.gaussian_entropy(x)
    assert entropy == pytest.approx(np.log(2 * np.pi * np.e), abs=0.02)
    assert entropy_bound.gaussian_entropy(x * 1e-3) == pytest.approx(entropy + 2 * np.log(1e-3))
    assert np.isfinite(entropy_bound.gaussian_entropy(np.ones((4, 1))))


def test_both_sides_at_a_layer():
    bound = _bound(1.0)
    assert (bound["entropy_ct"], bound["entropy_mr"]) == pytest.approx((np.log(8), np.log(8)))
    # Correlation sqrt(1 / 2): log(2) / 2. Quantised features share less.
    assert bound["continuous_information"] == pytest.approx(np.log(2) / 2, abs=0.06)
    assert 0.2 < bound["information"] < 0.4
    assert bound["continuous_entropy"] == pytest.approx(np.log(2 * np.pi * np.e) / 2, abs=0.06)
    assert bound["rescaled_information"] == bound["continuous_information"]
    assert bound["rescaled_entropy"] == pytest.approx(bound["continuous_entropy"] + np.log(1e-3))


def test_it_holds_if_nothing_breaks_the_bound():
    assert _judged("encoder 1", _bound(1e6)).verdict is Verdict.HOLDS


def test_it_is_conditional_if_only_continuous_features_break_it():
    finding = _judged("encoder 1", _bound(1.0))
    assert finding.verdict is Verdict.CONDITIONAL
    assert "encoder 1" in finding.counterexample
    assert finding.numbers["information_change_rescaled"] == 0


def test_it_fails_if_quantised_features_break_it():
    finding = _judged("decoder 1", {**GIVEN, "information": 1.7})
    assert finding.verdict is Verdict.FAILS
    assert finding.numbers["largest_excess_quantised"] == pytest.approx(0.2)
    assert "decoder 1" in finding.counterexample
