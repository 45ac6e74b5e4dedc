import re
from dataclasses import replace
from pathlib import Path

import pytest

from crossmodalnet.theory.findings import StatementFinding, Verdict
from crossmodalnet.theory.statements import GROUPS, STATEMENTS
from pipeline.report.artefacts.audit_records import AuditRecord
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.audit.section import (
    ClaimsSection,
    claims_section,
    count_words,
    number_entries,
    readable,
    tag_of,
)

STYLE = Path(__file__).parents[4] / "pipeline/report/page/style.css"


def audit(model: str, **verdicts: Verdict) -> AuditRecord:
    """An audit without tables, in which nothing applies but what is given."""
    findings = {
        key: StatementFinding(
            key, verdicts.get(key, Verdict.NOT_APPLICABLE), f"why {key}", {}, "step", "example"
        )
        for key in STATEMENTS
    }
    return AuditRecord(model, 3, findings, {})


def section(artefacts: Artefacts, *audits: AuditRecord) -> ClaimsSection:
    made = claims_section(replace(artefacts, audits={audit.model: audit for audit in audits}))
    assert made is not None
    return made


@pytest.mark.usefixtures("blank_charts")
def test_every_statement_is_in_its_group(artefacts: Artefacts) -> None:
    main = section(artefacts, *artefacts.audits.values()).main
    assert main is not None
    assert [group.title for group in main.groups] == list(GROUPS.values())
    assert [c.key for g in main.groups for c in g.claims if g.key == "lipschitz"] == [
        "definition_6", "equation_30", "theorem_2_6",
    ]  # fmt: skip
    assert sum(len(group.claims) for group in main.groups) == len(STATEMENTS)


def test_first_crossmodalnet_is_shown_in_full_before_the_others(artefacts: Artefacts) -> None:
    found = section(
        artefacts,
        audit("mednext", definition_4=Verdict.HOLDS),
        audit("crossmodalnet", definition_4=Verdict.FAILS),
        audit("nnformer"),
    )
    assert found.main is not None
    assert (found.main.title, found.main.seed) == ("CrossModalNet", 3)
    assert [model.title for model in found.others] == ["MedNeXt"]
    assert found.untouched == [("nnFormer", "why definition_1")]


def test_what_does_not_apply_is_listed_for_the_main_model_only(artefacts: Artefacts) -> None:
    one = {"definition_4": Verdict.HOLDS}
    found = section(artefacts, audit("crossmodalnet", **one), audit("mednext", **one))
    assert found.main is not None
    assert (len(found.main.groups), found.main.num_left_out) == (len(GROUPS), 0)
    (other,) = found.others
    assert [[claim.key for claim in group.claims] for group in other.groups] == [["definition_4"]]
    assert other.num_left_out == len(STATEMENTS) - 1


def test_nothing_applies_to_anything(artefacts: Artefacts) -> None:
    found = section(artefacts, audit("mednext"))
    assert (found.main, found.others, found.star) == (None, [], "")
    assert claims_section(replace(artefacts, audits={})) is None


@pytest.mark.usefixtures("blank_charts")
def test_charts_need_their_tables(artefacts: Artefacts) -> None:
    first = artefacts.audits["crossmodalnet"]
    main = section(artefacts, first).main
    assert main is not None
    drawn = {group.key: len(group.charts) for group in main.groups if group.charts}
    assert drawn == {
        "attention": 1, "cost": 1, "approximation": 1, "flow": 2, "lipschitz": 1, "balancing": 1,
        "generalisation": 1, "robustness": 1,
    }  # fmt: skip
    bare = section(artefacts, replace(first, tables={}))
    assert bare.main is not None
    assert not any(group.charts for group in bare.main.groups)
    assert bare.star == ""  # no link to a plot that is not there


def test_counts_are_put_in_words() -> None:
    assert count_words({Verdict.HOLDS: 2, Verdict.FAILS: 1}) == "2 hold and 1 fails"
    counts = dict.fromkeys(Verdict, 1)
    assert count_words(counts) == (
        "1 holds, 1 holds under conditions only, 1 fails, 1 is replaced by an option, 1 is undecided "
        "and 1 does not apply"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.42, "−0.42"), (1234.5678, "1235"), (32000.0, "32000"), (3.1e-7, "3.1 × 10⁻⁷"),
        (-2e12, "−2 × 10¹²"), (1.0, "1"), (0.98765, "0.9877"),
    ],
)  # fmt: skip
def test_numbers_are_printed_for_readers(value: float, text: str) -> None:
    assert number_entries({"largest_loss": value}) == [("largest loss", text)]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("deviates by 2.8e-16, at most 1e-4.", "deviates by 2.8 × 10⁻¹⁶, at most 10⁻⁴."),
        ("from 14.9 to 1.07e+07", "from 14.9 to 1.07 × 10⁷"),
        ("by -0.26 [-0.32, -0.20]", "by −0.26 [−0.32, −0.20]"),
        ("a bound of 10^165.", "a bound of 10¹⁶⁵."),
        ("a bound of 10^16.5 and 10^-3", "a bound of 10^16.5 and 10⁻³"),
        ("3-D self-attention, ct_1001+mr_1004, 1-2", "3-D self-attention, ct_1001+mr_1004, 1-2"),
    ],
)
def test_numbers_in_texts_are_printed_as_on_paper(text: str, printed: str) -> None:
    assert readable(text) == printed


@pytest.mark.usefixtures("blank_charts")
def test_details_leave_out_what_is_empty(artefacts: Artefacts) -> None:
    main = section(artefacts, artefacts.audits["crossmodalnet"]).main
    assert main is not None
    details = {
        claim.key: [title for title, _ in claim.details] for group in main.groups for claim in group.claims
    }
    assert details["definition_2"] == ["Found", "Check", "Rule"]
    assert details["theorem_2_1_2"] == ["Found", "Check", "Rule", "Where the proof breaks", "Counterexample"]


@pytest.mark.parametrize("verdict", Verdict)
def test_verdicts_are_told_apart_by_sign_and_in_contrast(verdict: Verdict) -> None:
    tag = tag_of(verdict)
    assert len({tag_of(other).sign for other in Verdict}) == len(Verdict)
    rule = re.search(
        rf"\.tag\.{tag.kind},[^{{]*{{ background: (#\w+); color: (#\w+); }}", STYLE.read_text("utf-8")
    )
    assert rule is not None
    light, dark = map(luminance, rule.groups())
    assert (light + 0.05) / (dark + 0.05) > 7  # WCAG 2.1, level AAA


def luminance(colour: str) -> float:
    srgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in srgb)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
