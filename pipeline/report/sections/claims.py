"""Claims: every statement of the paper with its verdict, and the charts behind the verdicts."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from crossmodalnet.errors import DataError
from crossmodalnet.theory.findings import StatementFinding, Verdict
from crossmodalnet.theory.statements import GROUPS, STATEMENTS
from pipeline.comparison.titles import title_of
from pipeline.config.variants import OURS
from pipeline.report.artefacts import Artefacts
from pipeline.report.sections.claim_charts import CHARTS, GROUP_OF
from pipeline.report.tables import MINUS, enumerate_words
from pipeline.runtime import paths
from pipeline.runtime.inputs import read_object, read_table

# Each verdict with a sign, so that nobody needs its colour, and as the verb of a count, in singular and plural.
PRINTED = {
    Verdict.HOLDS: ("✓", "holds", "hold"),
    Verdict.CONDITIONAL: ("◐", "holds under conditions only", "hold under conditions only"),
    Verdict.FAILS: ("✗", "fails", "fail"),
    Verdict.DEPARTS: ("≠", "is replaced by an option", "are replaced by options"),
    Verdict.UNDECIDED: ("?", "is undecided", "are undecided"),
    Verdict.NOT_APPLICABLE: ("–", "does not apply", "do not apply"),
}
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Audit(NamedTuple):
    """The audit of one model: its seed, findings in the order of `STATEMENTS`, and tables by name."""

    model: str
    seed: int
    findings: Mapping[str, StatementFinding]
    tables: Mapping[str, pd.DataFrame]

    @property
    def counts(self) -> dict[Verdict, int]:
        """Number of statements per verdict, in the order of `Verdict`; none of them 0."""
        counts = Counter(finding.verdict for finding in self.findings.values())
        return {verdict: counts[verdict] for verdict in Verdict if counts[verdict]}


def section(artefacts: Artefacts) -> dict[str, Any] | None:
    """Show the first audited network in full, then what applies to the others; None where nothing was audited."""
    audits = read_audits(artefacts)
    if not audits:
        return None
    applying = [audit for audit in audits if set(audit.counts) != {Verdict.NOT_APPLICABLE}]
    untouched = [audit for audit in audits if audit not in applying]
    return {
        "num_statements": len(STATEMENTS),
        "main": _model(applying[0], everything=True) if applying else None,
        "others": [_model(audit, everything=False) for audit in applying[1:]],
        "untouched": {title_of(a.model): readable(next(iter(a.findings.values())).why) for a in untouched},
    }


def claims_sentence(artefacts: Artefacts) -> str:
    """Count the verdicts on the network that `section` shows in full; empty where nothing applies."""
    for audit in read_audits(artefacts):
        if set(audit.counts) != {Verdict.NOT_APPLICABLE}:
            lead = f"Of the {len(STATEMENTS)} statements that the paper makes"
            return f"{lead}, tested on {title_of(audit.model)}, {count_words(audit.counts)}"
    return ""


def read_audits(artefacts: Artefacts) -> list[Audit]:
    """Read the audits of all models, CrossModalNet's first; none where `audit.enabled` is false."""
    models = sorted(artefacts.models, key=lambda name: name != OURS)
    audits = [read_audit(artefacts, name) for name in models]
    return [audit for audit in audits if audit.findings]


def read_audit(artefacts: Artefacts, model: str) -> Audit:
    """Read the audit of a model; tables without rows count as missing."""
    folder = artefacts.top / paths.AUDIT / model
    content = read_object(folder / "findings.json", "audit")
    try:
        findings = TypeAdapter(list[StatementFinding]).validate_python(content["findings"])
        by_key = {finding.key: finding for finding in findings}
        ordered = {key: by_key[key] for key in STATEMENTS if findings}
        seed = int(content["seed"])
    except (KeyError, TypeError, ValidationError) as error:
        problem = f"lacks {error}" if isinstance(error, KeyError) else error
        raise DataError(f"{folder / 'findings.json'} {problem}: run `dvc repro --force audit`") from error
    tables = {p.stem: read_table(p, "audit", [], may_be_empty=True) for p in sorted(folder.glob("*.csv"))}
    return Audit(model, seed, ordered, {name: table for name, table in tables.items() if len(table)})


def count_words(counts: Mapping[Verdict, int]) -> str:
    """Say how many statements have each verdict: `2 hold and 1 fails`."""
    return enumerate_words([f"{n} {PRINTED[verdict][1 + (n != 1)]}" for verdict, n in counts.items()])


def readable(text: str) -> str:
    """Print the numbers of a text as on paper: `3e-7`, `10^5` and `-1` as 3 × 10⁻⁷, 10⁵ and −1."""
    text = re.sub(r"\b(\d+(?:\.\d+)?)e([-+]?\d+)\b", lambda match: _power(match[1], match[2]), text)
    text = re.sub(r"\b10\^(-?\d+)(?:\.0)?\b(?!\.\d)", lambda match: _power("1", match[1]), text)
    return re.sub(r"(?<![\w.⁻])-(?=\d)", MINUS, text)


def readable_number(value: float) -> str:
    """Print four significant digits, or a power of ten where zeros would be many."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return (f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}").replace("-", MINUS)
    mantissa, exponent = f"{value:.2e}".split("e")
    return _power(mantissa.rstrip("0").rstrip("."), exponent).replace("-", MINUS)


def _power(mantissa: str, exponent: str) -> str:
    factor = "" if float(mantissa) == 1 else f"{mantissa} × "
    return f"{factor}10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def _tag(verdict: Verdict) -> dict[str, str]:
    """Print a verdict: its class in style.css, its sign and its words."""
    return {"kind": verdict.name.lower(), "sign": PRINTED[verdict][0], "text": verdict.value}


def _model(audit: Audit, *, everything: bool) -> dict[str, Any]:
    """Prepare what is shown of a model; statements that do not apply only where `everything` is shown."""
    groups = []
    for group, title in GROUPS.items():
        claims = [
            _claim(finding)
            for key, finding in audit.findings.items()
            if STATEMENTS[key].group == group and (everything or finding.verdict != Verdict.NOT_APPLICABLE)
        ]
        names = [name for name in CHARTS if claims and GROUP_OF.get(name, name) == group]
        charts = {name: source for name in names if (source := CHARTS[name](audit.tables))}
        groups.append({"key": group, "title": title, "claims": claims, "charts": charts})
    return {
        "title": title_of(audit.model),
        "seed": audit.seed,
        "counts": [(count, _tag(verdict)) for verdict, count in audit.counts.items()],
        "summary": count_words(audit.counts),
        "groups": [group for group in groups if group["claims"]],
        "num_left_out": 0 if everything else audit.counts.get(Verdict.NOT_APPLICABLE, 0),
        "flow_title": next((g["title"] for g in groups if g["key"] == "flow" and g["charts"]), ""),
    }


def _claim(finding: StatementFinding) -> dict[str, Any]:
    statement = STATEMENTS[finding.key]
    texts = (finding.why, statement.check, statement.rule, finding.breaks, finding.counterexample)
    titles = ("Found", "Check", "Rule", "Where the proof breaks", "Counterexample")
    return {
        "key": finding.key,
        "statement": statement,
        "tag": _tag(finding.verdict),
        "why": readable(finding.why),
        "details": {title: readable(text) for title, text in zip(titles, texts, strict=True) if text},
        "numbers": {name.replace("_", " "): readable_number(v) for name, v in finding.numbers.items()},
    }
