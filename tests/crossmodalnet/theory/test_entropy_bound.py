from dataclasses import replace

import numpy as np
import pytest

from crossmodalnet.theory.entropy_bound import EntropyBound, bound, judge_corollary_1
from crossmodalnet.theory.findings import Verdict
from crossmodalnet.theory.tokens import LayerTokens

GIVEN = EntropyBound(
    "embedding",
    information=0.5,
    entropy_ct=2.0,
    entropy_mr=1.5,
    continuous_information=0.8,
    continuous_entropy=3.0,
    rescaled_information=0.8,
    rescaled_entropy=1.0,
)


def _layer(scale: float) -> LayerTokens:
    rng = np.random.default_rng(0)
    ct = rng.standard_normal((2, 400, 1))
    return LayerTokens("encoder 1", scale * ct, scale * (ct + rng.standard_normal(ct.shape)))


def test_both_sides_at_a_layer():
    found = bound(_layer(1.0))
    assert (found.entropy_ct, found.entropy_mr) == pytest.approx((np.log(8), np.log(8)))
    # Correlation sqrt(1 / 2): log(2) / 2. Quantised features share less.
    assert found.continuous_information == pytest.approx(np.log(2) / 2, abs=0.06)
    assert 0.2 < found.information < 0.4
    assert found.continuous_entropy == pytest.approx(np.log(2 * np.pi * np.e) / 2, abs=0.06)
    assert found.rescaled_information == found.continuous_information
    assert found.rescaled_entropy == pytest.approx(found.continuous_entropy + np.log(1e-3))


def test_holds_where_nothing_breaks_the_bound():
    assert judge_corollary_1([GIVEN, bound(_layer(1e6))]).verdict is Verdict.HOLDS


def test_conditional_where_only_continuous_features_break_it():
    finding = judge_corollary_1([GIVEN, bound(_layer(1.0))])
    assert finding.verdict is Verdict.CONDITIONAL
    assert "1 of 2 layers" in finding.why
    assert "encoder 1" in finding.counterexample
    assert finding.numbers["information_change_rescaled"] == 0


def test_fails_where_quantised_features_break_it():
    finding = judge_corollary_1([GIVEN, replace(GIVEN, name="decoder 1", information=1.7)])
    assert finding.verdict is Verdict.FAILS
    assert finding.numbers["largest_excess_quantised"] == pytest.approx(0.2)
    assert "decoder 1" in finding.counterexample
