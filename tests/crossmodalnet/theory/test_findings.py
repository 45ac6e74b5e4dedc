import math

import pytest

from crossmodalnet.theory.checks import CHECKS
from crossmodalnet.theory.findings import AGAINST_THE_PAPER, StatementFinding, Verdict, judge_equation
from crossmodalnet.theory.statements import GROUPS, STATEMENTS

# As the paper numbers them; Theorem 2.1 has three parts.
NUMBERED = (
    *(f"Definition {n}" for n in range(1, 8)),
    *(f"Theorem 2.1.{n}" for n in range(1, 4)),
    *(f"Theorem 2.{n}" for n in range(2, 8)),
    "Lemma 1", "Corollary 1", "Corollary 2", "Equation 23", "Equation 30",
)  # fmt: skip


def test_no_numbered_statement_is_missing():
    assert set(NUMBERED) <= {statement.number for statement in STATEMENTS.values()}


def test_keys_are_the_numbers():
    for key, statement in STATEMENTS.items():
        assert key == statement.number.lower().replace(" ", "_").replace(".", "_")


def test_every_group_has_statements():
    assert {statement.group for statement in STATEMENTS.values()} == set(GROUPS) == set(CHECKS)


@pytest.mark.parametrize("verdict", sorted(AGAINST_THE_PAPER))
def test_a_verdict_against_the_paper_needs_its_reasons(verdict):
    with pytest.raises(ValueError, match="broken step and a counterexample"):
        StatementFinding("theorem_2_4", verdict, "why")
    with pytest.raises(ValueError, match="broken step and a counterexample"):
        StatementFinding("theorem_2_4", verdict, "why", breaks="here")
    assert StatementFinding("theorem_2_4", verdict, "why", breaks="here", counterexample="this")


def test_numbers_are_finite():
    with pytest.raises(ValueError, match="rate"):
        StatementFinding("lemma_1", Verdict.HOLDS, "why", {"rate": math.nan})


@pytest.mark.parametrize(
    ("deviation", "options", "verdict"),
    [(1e-9, [], Verdict.HOLDS), (0.3, ["values: a"], Verdict.DEPARTS), (0.3, [], Verdict.FAILS)],
)
def test_a_part_is_the_equation_or_departs_or_is_a_defect(deviation, options, verdict):
    finding = judge_equation("definition_2", "The attentions", "Eq. 4", deviation, 1e-4, options)
    assert finding.verdict is verdict
    assert finding.numbers == {"deviation": deviation}
    assert all(option in finding.why for option in options)
