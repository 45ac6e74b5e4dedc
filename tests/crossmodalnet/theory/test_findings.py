import math
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from torch import nn

from crossmodalnet.theory.findings import AGAINST_THE_PAPER, StatementFinding, Verdict, judge_equation
from crossmodalnet.theory.statements import GROUPS, STATEMENTS
from tests.crossmodalnet.theory.subjects import QUICK, make_subject

NETWORKS: list[dict[str, Any]] = [
    {"swin": False},
    {"cross": False},
    {"swin": False, "cross": False},
    {"deformable": False},
    {"streams": "ct"},
    {"streams": "mr", "swin": False},
    {"stem": "linear", "residual": "standard", "values": "a", "similarity": "cosine", "refines": "queries"},
    {"offsets": "predicted", "missing_token": True, "transitions": "conv"},
    {"depths": (1,), "heads": (1,), "cross_window": (None,), "num_points": (2,), "stem": "linear"},
]


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_each_statement_has_a_verdict_for_each_network(options, group):
    outcome = import_module(f"crossmodalnet.theory.{group}").check(make_subject(size=8, **options), QUICK)
    expected = {key for key, statement in STATEMENTS.items() if statement.group == group}
    assert {finding.key for finding in outcome.findings} == expected != set()
    assert all(finding.why for finding in outcome.findings)


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_no_statement_applies_to_other_networks(group):
    network = nn.Conv3d(2, 8, 1)
    changes = {"network": network, "initial": network, "config": None, "objectives": ("ce",)}
    other = replace(make_subject(size=8), **changes)
    outcome = import_module(f"crossmodalnet.theory.{group}").check(other, QUICK)
    assert {finding.verdict for finding in outcome.findings} == {Verdict.NOT_APPLICABLE}


@pytest.mark.parametrize("verdict", sorted(AGAINST_THE_PAPER))
def test_a_verdict_against_the_paper_needs_its_reasons(verdict):
    for reasons in ({}, {"breaks": "here"}):
        with pytest.raises(ValueError, match="theorem_2_4"):
            StatementFinding("theorem_2_4", verdict, "why", **reasons)
    assert StatementFinding("theorem_2_4", verdict, "why", breaks="here", counterexample="this")


def test_numbers_are_finite():
    with pytest.raises(ValueError, match="rate"):
        StatementFinding("lemma_1", Verdict.HOLDS, "why", {"rate": math.nan})


@pytest.mark.parametrize(
    ("deviation", "options", "verdict"),
    [(1e-9, [], Verdict.HOLDS), (0.3, ["values: a"], Verdict.DEPARTS), (0.3, [], Verdict.FAILS)],
)
def test_a_deviation_needs_an_option_that_explains_it(deviation, options, verdict):
    finding = judge_equation("definition_2", "The attentions", "Eq. 4", deviation, 1e-4, options)
    assert finding.verdict is verdict
    assert finding.numbers == {"deviation": deviation}
    assert all(option in finding.why for option in options)
