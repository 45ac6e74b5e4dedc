import numpy as np
import pytest

from crossmodalnet.theory.findings import Verdict
from crossmodalnet.theory.flow import (
    judge_definition_7,
    judge_theorem_2_4,
    judge_theorem_2_7,
    of_either,
)
from crossmodalnet.theory.information import JackknifeEstimate

NAMES = ("image", "embedding", "encoder 1", "encoder 2")


def _series(*values: float, spread: float = 0.001, num_cases: int = 5) -> JackknifeEstimate:
    """Information at each layer, with intervals of about 5.6 times the spread either way."""
    signs = np.array([1, -1, 1, -1, 0])[:num_cases, None] * np.array([1, -1, 1, -1])[: len(values)]
    return JackknifeEstimate(np.array(values), np.array(values) + spread * signs)


def _both(first: JackknifeEstimate, second: JackknifeEstimate | None = None) -> dict[str, JackknifeEstimate]:
    return {"copula": first, "knn": first if second is None else second}


RISING = _series(0.1, 0.2, 0.4, 0.8)
FALLING = _series(0.5, 0.7, 0.3, 0.4)


def test_theorem_2_4_holds_where_information_rises():
    assert judge_theorem_2_4(_both(RISING), NAMES).verdict is Verdict.HOLDS
    assert judge_theorem_2_4(_both(_series(0.1, 0.5, 0.6, 0.61)), NAMES).verdict is Verdict.HOLDS


def test_theorem_2_4_fails_where_both_find_the_same_loss():
    finding = judge_theorem_2_4(_both(FALLING, _series(0.6, 0.8, 0.5, 0.6)), NAMES)
    assert finding.verdict is Verdict.FAILS
    assert "from embedding to encoder 1" in finding.why
    assert "0.70 (copula) and 0.80 (knn)" in finding.counterexample
    assert "0.50 (copula) and 0.60 (knn), not 0" in finding.counterexample
    assert finding.numbers["smallest_cmif_copula"] == pytest.approx(-0.4)
    assert finding.numbers["layers_that_lose"] == 1


@pytest.mark.parametrize(
    "estimates",
    [
        _both(FALLING, RISING),  # by one estimator alone
        _both(FALLING, _series(0.5, 0.3, 0.4, 0.6)),  # at different layers
        _both(_series(0.5, 0.7, 0.3, 0.4, spread=0.2)),  # within the interval
        _both(JackknifeEstimate(FALLING.pooled, np.empty((0, 4)))),  # one case
        _both(JackknifeEstimate(RISING.pooled, np.empty((0, 4)))),
    ],
)
def test_neither_theorem_is_decided_without_agreement_and_confidence(estimates):
    assert judge_theorem_2_4(estimates, NAMES).verdict is Verdict.UNDECIDED
    assert judge_theorem_2_7(estimates, NAMES).verdict is not Verdict.HOLDS


def test_an_untrained_network_can_refute_a_theorem_too():
    rising, falling = (judge_theorem_2_4(_both(series), NAMES) for series in (RISING, FALLING))
    untrained = judge_theorem_2_4(_both(FALLING), NAMES, "untrained")
    assert of_either(falling, rising).why == falling.why
    found = of_either(rising, untrained)
    assert found.verdict is Verdict.FAILS
    assert found.why.startswith("Before training.")
    assert "The untrained network" in found.counterexample
    assert found.numbers["layers_that_lose"] == 0  # of the trained one
    assert found.numbers["layers_that_lose_before_training"] == 1
    assert of_either(rising, judge_theorem_2_4(_both(RISING), NAMES)).verdict is Verdict.HOLDS


def test_theorem_2_7_holds_where_every_layer_adds_more():
    assert judge_theorem_2_7(_both(RISING), NAMES).verdict is Verdict.HOLDS


def test_theorem_2_7_fails_where_flow_grows_less_although_information_rises():
    slowing = _series(0.1, 0.5, 0.6, 0.9)
    assert judge_theorem_2_4(_both(slowing), NAMES).verdict is Verdict.HOLDS
    finding = judge_theorem_2_7(_both(slowing), NAMES)
    assert finding.verdict is Verdict.FAILS
    assert finding.numbers["layers_that_lose"] == 0
    assert finding.numbers["layers_that_add_less"] == 1
    assert finding.numbers["smallest_growth_knn"] == pytest.approx(-0.3)
    assert "into embedding: 0.40" in finding.counterexample
    assert "into encoder 1: 0.10" in finding.counterexample


def test_theorem_2_7_fails_where_only_the_first_layer_loses():
    finding = judge_theorem_2_7(_both(_series(0.9, 0.2, 0.3, 0.5)), NAMES)
    assert finding.verdict is Verdict.FAILS
    assert finding.numbers["layers_that_lose"] == 1
    assert finding.numbers["layers_that_add_less"] == 0
    assert "into embedding: -0.70" in finding.counterexample


def test_definition_7_holds_where_registered_pairs_share_more():
    finding = judge_definition_7(_both(FALLING), _both(_series(0.1, 0.7, 0.3, 0.4)), 0.01)
    assert finding.verdict is Verdict.HOLDS
    assert finding.numbers["flow_sum_deviation"] == pytest.approx(0, abs=1e-12)
    assert 0.35 < finding.numbers["excess_image_low_copula"] <= 0.4


@pytest.mark.parametrize(
    "shuffled",
    [
        _both(FALLING),
        _both(_series(0.1, 0.7, 0.3, 0.4), FALLING),  # by one estimator alone
        _both(_series(0.4, 0.7, 0.3, 0.4, spread=0.1)),  # within the interval
        None,
    ],
)
def test_definition_7_is_undecided_otherwise(shuffled):
    assert judge_definition_7(_both(FALLING), shuffled, 0.01).verdict is Verdict.UNDECIDED
