import math

import pytest
import torch
from torch import nn

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.blocks import WindowAttention
from crossmodalnet.theory.attention_growth import cross_growth, growth_factor, own_inputs, self_growth
from crossmodalnet.theory.findings import StatementFinding, Verdict
from crossmodalnet.theory.lipschitz import check, two_identical_streams
from crossmodalnet.theory.lipschitz_verdicts import judge_definition_6, judge_equation_30, judge_theorem_2_6
from crossmodalnet.theory.subject import AuditSubject
from tests.crossmodalnet.theory.subjects import QUICK, make_subject

GROWING, STEADY = [(1.0, 2.0), (10.0, 200.0), (100.0, 20000.0)], [(1.0, 2.0), (10.0, 5.0), (100.0, 4.0)]
PAPER = {"l_s": 1.0, "l_c": 0.5, "l_d": 0.0, "formula": 3.0, "depth": 2.0}


def findings(subject: AuditSubject) -> dict[str, StatementFinding]:
    return {finding.key: finding for finding in check(subject, QUICK).findings}


@pytest.mark.parametrize("transitions", ["linear", "conv"])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_trained_attention_is_bounded_on_bounded_sets_only(similarity, transitions):
    found = findings(make_subject(size=8, similarity=similarity, transitions=transitions))
    assert {key: finding.verdict for key, finding in found.items()} == {
        "definition_6": Verdict.CONDITIONAL,
        "equation_30": Verdict.CONDITIONAL,
        "theorem_2_6": Verdict.CONDITIONAL,
    }
    exponent = {"dot": 2, "cosine": -1}[similarity]
    assert found["definition_6"].numbers["exponent"] == pytest.approx(exponent, abs=0.05)


def test_attention_that_never_looks_at_its_queries_is_lipschitz():
    subject = make_subject(size=8)
    for module in subject.network.modules():
        if isinstance(module, CrossAttention):
            nn.init.zeros_(module.query.weight)
        if isinstance(module, WindowAttention):
            nn.init.zeros_(module.qkv.weight[: module.qkv.in_features])
    found = findings(subject)
    assert found["definition_6"].verdict == found["theorem_2_6"].verdict == Verdict.HOLDS
    assert found["definition_6"].numbers["growth"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("options", [{"cross": False}, {"streams": "ct"}])
def test_without_cross_attention(options):
    found = findings(make_subject(size=8, **options))
    assert found["definition_6"].verdict == found["equation_30"].verdict == Verdict.NOT_APPLICABLE
    assert found["theorem_2_6"].verdict == Verdict.CONDITIONAL
    assert "self-attention" in found["theorem_2_6"].counterexample


def test_without_swin_blocks_the_theorem_is_about_the_cross_attention():
    found = findings(make_subject(size=8, swin=False))
    assert found["definition_6"].verdict == found["theorem_2_6"].verdict == Verdict.CONDITIONAL
    assert "cross attention" in found["theorem_2_6"].counterexample


def test_without_any_attention_the_theorem_holds():
    found = findings(make_subject(size=8, swin=False, cross=False))
    assert found["definition_6"].verdict == found["equation_30"].verdict == Verdict.NOT_APPLICABLE
    assert found["theorem_2_6"].verdict == Verdict.HOLDS
    assert found["theorem_2_6"].why.endswith("There is no attention in this network.")


def test_other_networks_have_no_known_constants():
    subject = make_subject(size=8)
    other = AuditSubject(
        nn.Conv3d(2, 8, 1), nn.Conv3d(2, 8, 1), None, (8, 8, 8), [], subject.test, ("ce",), "paper", 1.0, {}
    )
    assert {finding.verdict for finding in check(other, QUICK).findings} == {Verdict.NOT_APPLICABLE}


def test_the_same_bits_again_and_tables_of_even_rows():
    subject = make_subject(size=8)
    first, second = check(subject, QUICK), check(subject, QUICK)
    assert first == second
    assert set(first.tables) == {"sensitivity_bounds", "power_iteration", "attention_growth"}
    for rows in first.tables.values():
        assert len({tuple(row) for row in rows}) == 1


def test_a_stretch_beyond_the_bound_refutes_the_theorem():
    assert judge_theorem_2_6(2.0, 2.1, {"attention": GROWING}).verdict == Verdict.FAILS
    assert judge_theorem_2_6(2.0, 1.9, {"attention": GROWING}).verdict == Verdict.CONDITIONAL
    assert judge_theorem_2_6(2.0, 1.9, {"attention": STEADY}).verdict == Verdict.HOLDS


def test_a_token_for_a_missing_image_is_a_condition_of_the_bound():
    for growth in (GROWING, STEADY):
        why = [
            judge_theorem_2_6(2.0, 1.9, {"attention": growth}, missing_token=token).why
            for token in (False, True)
        ]
        assert ["goes missing" in text for text in why] == [False, True]


def test_one_growing_attention_is_enough_for_a_condition():
    finding = judge_theorem_2_6(2.0, 1.9, {"cross attention": STEADY, "self-attention": GROWING})
    assert finding.verdict == Verdict.CONDITIONAL
    assert finding.numbers["attention_growth"] == 10_000


def test_verdicts_on_definition_6():
    assert judge_definition_6(STEADY, "dot").verdict == Verdict.HOLDS
    finding = judge_definition_6(GROWING, "dot")
    assert finding.verdict == Verdict.CONDITIONAL
    assert finding.numbers["exponent"] == pytest.approx(2)


def test_verdicts_on_equation_30():
    assert judge_equation_30(PAPER, 5.0, 3.5, (1.0, 1.0)).verdict == Verdict.FAILS
    assert judge_equation_30(PAPER, 5.0, 2.0, (2.0, 1.0)).verdict == Verdict.CONDITIONAL
    finding = judge_equation_30(PAPER, 5.0, 2.0, (1.0, 1.0))
    assert finding.verdict == Verdict.HOLDS
    assert finding.numbers["orders_between"] == 1


@pytest.mark.parametrize("depth", [1, 3])
def test_two_identical_streams_double_what_they_share(depth):
    # The matrix of a layer is of ones: its singular values are 2 and 0.
    assert two_identical_streams(depth) == pytest.approx((2**depth, math.sqrt(2) ** depth))


def test_growth_by_hand():
    # One channel, weights of 1: the zero query weighs all values alike, dv/dq is their variance, which is c^2 / 4.
    attention = CrossAttention(1, 1)
    for layer in (attention.query, attention.key, attention.value):
        nn.init.ones_(layer.weight)
    f = torch.tensor([[0.0], [1.0]])
    growth = dict(cross_growth(attention, f, f, seed=0))
    assert growth[1000.0] == pytest.approx(1000**2 / 4, rel=1e-3)
    assert growth_factor(list(growth.items())) > 1000


def test_self_growth_is_of_the_trained_weights():
    attention = WindowAttention(2, 1, (1, 1, 2))
    nn.init.eye_(attention.qkv.weight[:2])
    nn.init.eye_(attention.qkv.weight[2:4])
    nn.init.eye_(attention.qkv.weight[4:])
    growth = dict(self_growth(attention, torch.tensor([[5.0, 5.0], [1.0, 0.0]]), seed=0))
    # The covariance of the tokens (0, 0) and (c, 0) is c^2 / 4, over sqrt(2).
    assert growth[1000.0] == pytest.approx(1000**2 / 4 / math.sqrt(2), rel=1e-3)


def test_own_inputs_are_what_the_attention_sees():
    subject = make_subject(size=8)
    attention = next(m for m in subject.network.modules() if isinstance(m, CrossAttention))
    f_a, f_b = own_inputs(subject.network, attention, subject.images(subject.test))
    assert f_a.shape == f_b.shape == (8, 6)
    assert not attention._forward_pre_hooks
