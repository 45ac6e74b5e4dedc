import math

import pytest
from torch import nn

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.blocks import WindowAttention
from crossmodalnet.theory import lipschitz
from crossmodalnet.theory.findings import Verdict
from tests.crossmodalnet.theory.subjects import QUICK, make_subject, verdicts

GROWING, STEADY = [(1.0, 2.0), (10.0, 200.0), (100.0, 20000.0)], [(1.0, 2.0), (10.0, 5.0), (100.0, 4.0)]
PAPER = {"l_s": 1.0, "l_c": 0.5, "l_d": 0.0, "formula": 3.0, "depth": 2.0}


def findings(subject):
    return {finding.key: finding for finding in lipschitz.check(subject, QUICK).findings}


@pytest.mark.parametrize("transitions", ["linear", "conv"])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_trained_attention_is_bounded_on_bounded_sets_only(similarity, transitions):
    subject = make_subject(size=8, similarity=similarity, transitions=transitions)
    outcome = lipschitz.check(subject, QUICK)
    assert outcome == lipschitz.check(subject, QUICK)
    keys = ("definition_6", "equation_30", "theorem_2_6")
    assert verdicts(outcome) == dict.fromkeys(keys, Verdict.CONDITIONAL)
    exponent = {"dot": 2, "cosine": -1}[similarity]
    assert outcome.findings[0].numbers["exponent"] == pytest.approx(exponent, abs=0.05)
    assert set(outcome.tables) == {"sensitivity_bounds", "power_iteration", "attention_growth"}


def test_attention_that_ignores_its_queries_is_lipschitz():
    subject = make_subject(size=8)
    for module in subject.network.modules():
        if isinstance(module, CrossAttention):
            nn.init.zeros_(module.query.weight)
        if isinstance(module, WindowAttention):
            nn.init.zeros_(module.qkv.weight[: module.qkv.in_features])
    found = findings(subject)
    assert found["definition_6"].verdict == found["theorem_2_6"].verdict == Verdict.HOLDS
    assert found["definition_6"].numbers["growth"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("swin", "cross", "attention"),
    [(True, False, "self-attention"), (False, True, "cross attention"), (False, False, "")],
)
def test_theorem_2_6_is_about_the_attentions_of_the_network(swin, cross, attention):
    found = findings(make_subject(size=8, swin=swin, cross=cross))
    assert (found["definition_6"].verdict is Verdict.NOT_APPLICABLE) == (not cross)
    assert (found["equation_30"].verdict is Verdict.NOT_APPLICABLE) == (not cross)
    assert found["theorem_2_6"].verdict is (Verdict.CONDITIONAL if attention else Verdict.HOLDS)
    assert attention in found["theorem_2_6"].counterexample


@pytest.mark.parametrize(
    ("log10_ratio", "growths", "verdict"),
    [
        (2.1, {"attention": GROWING}, Verdict.FAILS),
        (1.9, {"attention": GROWING}, Verdict.CONDITIONAL),
        (1.9, {"attention": STEADY}, Verdict.HOLDS),
        (1.9, {"cross attention": STEADY, "self-attention": GROWING}, Verdict.CONDITIONAL),
    ],
)
def test_verdicts_on_theorem_2_6(log10_ratio, growths, verdict):
    for missing_token in (False, True):
        finding = lipschitz.judge_theorem_2_6(2.0, log10_ratio, growths, missing_token=missing_token)
        assert finding.verdict is verdict
        assert finding.numbers["attention_growth"] == (10_000 if GROWING in growths.values() else 2.5)
        assert ("goes missing" in finding.why) == (missing_token and verdict is not Verdict.FAILS)


def test_verdicts_on_equation_30():
    numbers = [(3.5, (1.0, 1.0)), (2.0, (2.0, 1.0)), (2.0, (1.0, 1.0))]
    found = [lipschitz.judge_equation_30(PAPER, 5.0, *each) for each in numbers]
    assert [each.verdict for each in found] == [Verdict.FAILS, Verdict.CONDITIONAL, Verdict.HOLDS]
    assert found[2].numbers["orders_between"] == 1


@pytest.mark.parametrize("depth", [1, 3])
def test_two_identical_streams_double_what_they_share(depth):
    # The matrix of a layer is of ones: its singular values are 2 and 0.
    assert lipschitz.two_identical_streams(depth) == pytest.approx((2**depth, math.sqrt(2) ** depth))
