"""What section Claims shows: every statement of the paper with its verdict, and the figures behind the verdicts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossmodalnet.theory.findings import StatementFinding, Verdict
from crossmodalnet.theory.statements import GROUPS, STATEMENTS, Statement
from pipeline.config.variants import OURS
from pipeline.report.artefacts.audit_records import AuditRecord
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.audit.charts import Chart, group_charts
from pipeline.report.charts.tables import enumerate_words

# Each verdict with a sign, so that nobody needs its colour, and as the verb of a count.
SIGNS: Mapping[Verdict, str] = {
    Verdict.HOLDS: "✓",
    Verdict.CONDITIONAL: "◐",
    Verdict.FAILS: "✗",
    Verdict.DEPARTS: "≠",
    Verdict.UNDECIDED: "?",
    Verdict.NOT_APPLICABLE: "–",
}
VERBS: Mapping[Verdict, tuple[str, str]] = {
    Verdict.HOLDS: ("holds", "hold"),
    Verdict.CONDITIONAL: ("holds under conditions only", "hold under conditions only"),
    Verdict.FAILS: ("fails", "fail"),
    Verdict.DEPARTS: ("is replaced by an option", "are replaced by options"),
    Verdict.UNDECIDED: ("is undecided", "are undecided"),
    Verdict.NOT_APPLICABLE: ("does not apply", "do not apply"),
}
MINUS, SUPERSCRIPTS = "−", str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class VerdictTag:
    """A verdict in print: its class in style.css, its sign and its words."""

    kind: str
    sign: str
    text: str


@dataclass(frozen=True)
class Claim:
    """A statement and what was found of it.

    Attributes:
        key: key of the statement.
        statement: statement as the paper has it.
        tag: the verdict.
        why: reasons in one sentence.
        details: headings and texts, what is empty left out.
        numbers: names and values as printed.
    """

    key: str
    statement: Statement
    tag: VerdictTag
    why: str
    details: Sequence[tuple[str, str]]
    numbers: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class ClaimGroup:
    """A group of claims: key, heading, claims, and charts."""

    key: str
    title: str
    claims: Sequence[Claim]
    charts: Sequence[Chart]


@dataclass(frozen=True)
class ModelClaims:
    """The claims of one model.

    Attributes:
        title: title of the model.
        seed: seed of the training.
        counts: counts of the claims with each verdict.
        summary: counts in words.
        groups: without those in which nothing applies to the model.
        num_left_out: claims of other models that do not apply, which are not listed.
    """

    title: str
    seed: int
    counts: Sequence[tuple[int, VerdictTag]]
    summary: str
    groups: Sequence[ClaimGroup]
    num_left_out: int


@dataclass(frozen=True)
class ClaimsSection:
    """What the template fills in: the model shown in full, the others, and those that nothing applies to."""

    num_statements: int
    main: ModelClaims | None
    others: Sequence[ModelClaims]
    untouched: Sequence[tuple[str, str]]

    @property
    def star(self) -> str:
        """Heading of the group with the plot that the paper lacks; empty where it was not drawn."""
        groups = self.main.groups if self.main else ()
        return next((group.title for group in groups if group.key == "flow" and group.charts), "")


def claims_section(artefacts: Artefacts) -> ClaimsSection | None:
    """Make the section; none where nothing was audited."""
    audits = list(artefacts.audits.values())
    if not audits:
        return None
    applying = sorted((audit for audit in audits if audit.applies), key=lambda audit: audit.model != OURS)
    return ClaimsSection(
        len(STATEMENTS),
        _model(applying[0], everything=True) if applying else None,
        [_model(audit, everything=False) for audit in applying[1:]],
        [
            (audit.title, readable(next(iter(audit.findings.values())).why))
            for audit in audits
            if not audit.applies
        ],
    )


def tag_of(verdict: Verdict) -> VerdictTag:
    """Print a verdict."""
    return VerdictTag(verdict.name.lower(), SIGNS[verdict], verdict.value)


def count_words(counts: Mapping[Verdict, int]) -> str:
    """Say how many statements have each verdict: `2 hold and 1 fails`."""
    return enumerate_words([f"{number} {VERBS[verdict][number != 1]}" for verdict, number in counts.items()])


def readable(text: str) -> str:
    """Print the numbers of a text as on paper: `3e-7`, `10^5` and `-1` as 3 × 10⁻⁷, 10⁵ and −1."""
    text = re.sub(r"\b(\d+(?:\.\d+)?)e([-+]?\d+)\b", lambda found: _power(found[1], int(found[2])), text)
    text = re.sub(r"\b10\^(-?\d+)(?:\.0)?\b(?!\.\d)", lambda found: _power("1", int(found[1])), text)
    return re.sub(r"(?<![\w.⁻])-(?=\d)", MINUS, text)


def number_entries(numbers: Mapping[str, float]) -> list[tuple[str, str]]:
    """Print numbers: names in words, four significant digits, powers of ten where zeros would be many."""
    return [(name.replace("_", " "), _number(value)) for name, value in numbers.items()]


def _number(value: float) -> str:
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        text = f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
        return text.replace("-", MINUS)
    mantissa, exponent = f"{value:.2e}".split("e")
    return _power(mantissa.rstrip("0").rstrip("."), int(exponent)).replace("-", MINUS)


def _power(mantissa: str, exponent: int) -> str:
    factor = "" if float(mantissa) == 1 else f"{mantissa} × "
    return f"{factor}10{str(exponent).translate(SUPERSCRIPTS)}"


def _model(audit: AuditRecord, *, everything: bool) -> ModelClaims:
    groups = [_group(audit, group, everything=everything) for group in GROUPS]
    shown = [group for group in groups if group.claims]
    left_out = len(STATEMENTS) - sum(len(group.claims) for group in shown)
    counts = [(number, tag_of(verdict)) for verdict, number in audit.counts.items()]
    return ModelClaims(audit.title, audit.seed, counts, count_words(audit.counts), shown, left_out)


def _group(audit: AuditRecord, group: str, *, everything: bool) -> ClaimGroup:
    claims = [
        _claim(key, finding)
        for key, finding in audit.findings.items()
        if STATEMENTS[key].group == group and (everything or finding.verdict != Verdict.NOT_APPLICABLE)
    ]
    return ClaimGroup(group, GROUPS[group], claims, group_charts(group, audit.tables) if claims else [])


def _claim(key: str, finding: StatementFinding) -> Claim:
    statement = STATEMENTS[key]
    details = {
        "Found": finding.why,
        "Check": statement.check,
        "Rule": statement.rule,
        "Where the proof breaks": finding.breaks,
        "Counterexample": finding.counterexample,
    }
    texts = [(title, readable(text)) for title, text in details.items() if text]
    numbers = number_entries(finding.numbers)
    return Claim(key, statement, tag_of(finding.verdict), readable(finding.why), texts, numbers)
