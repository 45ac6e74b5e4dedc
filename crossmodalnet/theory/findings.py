"""What a check of the paper's claims gives: a verdict with its numbers, and tables for figures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

Row = Mapping[str, float | str]


class Verdict(StrEnum):
    """What a check finds of a statement."""

    HOLDS = "holds"
    CONDITIONAL = "holds under conditions"
    FAILS = "fails"
    DEPARTS = "departs from the paper"  # an option of the network or of its training replaces what is defined
    UNDECIDED = "undecided"
    NOT_APPLICABLE = "not applicable"  # the network has no such part


# Verdicts that contradict what the paper proves.
AGAINST_THE_PAPER = frozenset({Verdict.CONDITIONAL, Verdict.FAILS})


@dataclass(frozen=True)
class StatementFinding:
    """The outcome of one statement's check.

    Attributes:
        key: key of the statement, as in `STATEMENTS`.
        verdict: follows from `numbers` by the statement's rule.
        why: one sentence for readers who have not read the paper, with the figures that decide.
        numbers: finite figures that are the same on every run; no times.
        breaks: the step of the paper's proof that breaks; needed where the verdict is against the paper.
        counterexample: a concrete one with its computed figures; needed likewise.
    """

    key: str
    verdict: Verdict
    why: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    breaks: str = ""
    counterexample: str = ""

    def __post_init__(self) -> None:
        if wrong := [name for name, value in self.numbers.items() if not math.isfinite(value)]:
            raise ValueError(f"{self.key}: numbers must be finite, got {', '.join(wrong)} that are not")
        if self.verdict in AGAINST_THE_PAPER and not (self.breaks and self.counterexample):
            raise ValueError(
                f"{self.key}: a verdict against the paper needs its broken step and a counterexample"
            )


@dataclass(frozen=True)
class CheckOutcome:
    """What a group of checks found.

    Attributes:
        findings: findings, one per statement of the group.
        tables: rows for figures, by table name; all rows of a table have the same columns. Times may be here.
    """

    findings: Sequence[StatementFinding]
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)


def judge_equation(
    key: str, what: str, equation: str, deviation: float, tolerance: float, options: Sequence[str]
) -> StatementFinding:
    """Say whether a part of the network is what an equation of the paper prints.

    Args:
        key: key of the definition.
        what: the part, in the plural.
        equation: name of the equation, for instance `Eq. 4`.
        deviation: relative, from the equation written out.
        tolerance: largest one that is rounding.
        options: options of the network or its training that replace the equation, as `name: value`; without any, a
            deviation is a defect of the code.
    """
    numbers = {"deviation": deviation}
    if deviation <= tolerance:
        return StatementFinding(key, Verdict.HOLDS, f"{what} are {equation}, to {deviation:.0e}.", numbers)
    if options:
        why = f"With {' and '.join(options)}, {what[0].lower()}{what[1:]} differ from {equation} by {deviation:.0%}."
        return StatementFinding(key, Verdict.DEPARTS, why, numbers)
    why = f"{what} differ from {equation} by {deviation:.0e}, and no option says so: a defect."
    return StatementFinding(
        key, Verdict.FAILS, why, numbers, "The code, not the paper.", f"Deviation {deviation:.3g}."
    )


def not_applicable(key: str, why: str) -> StatementFinding:
    """Say that the network lacks what the statement is about."""
    return StatementFinding(key, Verdict.NOT_APPLICABLE, why)
