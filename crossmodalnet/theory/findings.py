"""Define the outcome of a check: a verdict per statement with its numbers, and tables for figures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

Row = Mapping[str, float | str]


class Verdict(StrEnum):
    """The verdict on a statement."""

    HOLDS = "holds"
    CONDITIONAL = "holds under conditions"
    FAILS = "fails"
    DEPARTS = "departs from the paper"  # an option of the network or of its training replaces what is defined
    UNDECIDED = "undecided"
    NOT_APPLICABLE = "not applicable"  # the network has no such part


AGAINST_THE_PAPER = frozenset({Verdict.CONDITIONAL, Verdict.FAILS})


@dataclass(frozen=True)
class StatementFinding:
    """The outcome of one statement's check; a verdict against the paper requires the last two."""

    key: str  # of `STATEMENTS`
    verdict: Verdict  # follows from `numbers` by the statement's rule
    why: str  # for readers who have not read the paper
    numbers: Mapping[str, float] = field(default_factory=dict)  # finite, the same on every run: no times
    breaks: str = ""  # the step of the paper's proof that breaks
    counterexample: str = ""  # a concrete one with its computed figures

    def __post_init__(self) -> None:
        if infinite := [name for name, value in self.numbers.items() if not math.isfinite(value)]:
            raise ValueError(f"{self.key}: numbers must be finite, {', '.join(infinite)} are not")
        if self.verdict in AGAINST_THE_PAPER and not (self.breaks and self.counterexample):
            raise ValueError(f"{self.key}: a verdict against the paper needs `breaks` and `counterexample`")


@dataclass(frozen=True)
class CheckOutcome:
    """The findings of a group of checks, and rows for figures by table name (tables may hold times)."""

    findings: Sequence[StatementFinding]
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)


def judge_equation(
    key: str, what: str, equation: str, deviation: float, tolerance: float, options: Sequence[str]
) -> StatementFinding:
    """Compare `what` (plural) with an equation; without `options` (`name: value`), a deviation is a defect."""
    numbers = {"deviation": deviation}
    if deviation <= tolerance:
        return StatementFinding(key, Verdict.HOLDS, f"{what} are {equation}, to {deviation:.0e}.", numbers)
    if options:
        why = f"With {' and '.join(options)}, {what[0].lower()}{what[1:]} differ from {equation} by {deviation:.0%}."
        return StatementFinding(key, Verdict.DEPARTS, why, numbers)
    why = f"{what} differ from {equation} by {deviation:.0e}, and no option says so: a defect."
    return StatementFinding(key, Verdict.FAILS, why, numbers, "The code, not the paper.", f"Deviation {deviation:.3g}.")


def not_applicable(key: str, why: str) -> StatementFinding:
    """Report that the network lacks the part that the statement is about."""
    return StatementFinding(key, Verdict.NOT_APPLICABLE, why)
