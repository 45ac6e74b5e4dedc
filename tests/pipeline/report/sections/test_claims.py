import json

import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.theory.findings import Verdict
from crossmodalnet.theory.statements import GROUPS, STATEMENTS
from pipeline.report.artefacts import gather
from pipeline.report.sections.claims import claims_sentence, read_audit, readable, readable_number, section
from tests.pipeline.report.conftest import list_methods


def change(project, edit, model="crossmodalnet"):
    path = project / f"audit/{model}/findings.json"
    content = json.loads(path.read_text("utf-8"))
    edit(content)
    path.write_text(json.dumps(content))


def set_verdicts(project, model, **verdicts):
    """Leave nothing that applies to a model but what is given."""

    def edit(content):
        for finding in content["findings"]:
            verdict = verdicts.get(finding["key"], "not applicable")
            finding.update(verdict=verdict, why="No streams.", breaks="step", counterexample="example")

    change(project, edit, model)


def test_findings_are_in_the_order_of_the_statements(project):
    change(project, lambda content: content["findings"].reverse())
    audit = read_audit(gather(project), "crossmodalnet")
    assert list(audit.findings) == list(STATEMENTS)
    assert audit.findings["theorem_2_1_2"].verdict is Verdict.FAILS
    assert audit.findings["theorem_2_1_2"].numbers == {"largest_deviation": 0.3712, "scale": 2.0}


def test_missing_and_empty_tables_are_left_out(project):
    (project / "audit/crossmodalnet/flow.csv").unlink()
    (project / "audit/crossmodalnet/overfitting.csv").write_text("step,dice\n")
    tables = read_audit(gather(project), "crossmodalnet").tables
    assert "entropy" in tables
    assert not {"flow", "overfitting"} & set(tables)


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c["findings"][0].update(verdict="perhaps"),
        lambda c: c["findings"].pop(0),
        lambda c: c["findings"][0].update(numbers={"a": float("nan")}),
        lambda c: c.pop("seed"),
        lambda c: c.update(seed=None),
    ],
)
def test_damaged_findings_are_rejected(project, edit):
    change(project, edit)
    with pytest.raises(DataError, match=r"(?s)findings.json .*dvc repro --force audit"):
        read_audit(gather(project), "crossmodalnet")


@pytest.mark.usefixtures("blank_charts")
def test_every_statement_is_in_its_group_with_its_charts(artefacts):
    main = section(artefacts)["main"]
    assert [group["title"] for group in main["groups"]] == list(GROUPS.values())
    claims = {group["key"]: [claim["key"] for claim in group["claims"]] for group in main["groups"]}
    assert claims["lipschitz"] == ["definition_6", "equation_30", "theorem_2_6"]
    assert sum(map(len, claims.values())) == len(STATEMENTS)
    charts = {group["key"]: list(group["charts"]) for group in main["groups"] if group["charts"]}
    names = ("attention", "cost", "approximation", "balancing", "generalisation", "lipschitz", "robustness")
    assert charts == {**{name: [name] for name in names}, "flow": ["flow", "entropy"]}
    assert main["flow_title"] == GROUPS["flow"]


def test_crossmodalnet_is_shown_in_full_before_the_others(project):
    set_verdicts(project, "crossmodalnet", definition_4="fails")
    set_verdicts(project, "mednext", definition_4="holds")
    for path in (project / "audit").glob("*/*.csv"):
        path.unlink()
    list_methods(project, "mednext, crossmodalnet", "no_cross, mr_only")
    content = section(gather(project))
    assert (content["main"]["title"], content["main"]["seed"]) == ("CrossModalNet", 0)
    assert (len(content["main"]["groups"]), content["main"]["num_left_out"]) == (len(GROUPS), 0)
    assert content["main"]["flow_title"] == ""  # no link to a plot that is missing
    (other,) = content["others"]
    assert [[claim["key"] for claim in group["claims"]] for group in other["groups"]] == [["definition_4"]]
    assert (other["title"], other["num_left_out"]) == ("MedNeXt", len(STATEMENTS) - 1)


def test_network_that_nothing_applies_to_has_a_line(project):
    for name in ("crossmodalnet", "mednext"):
        set_verdicts(project, name)
    changed = gather(project)
    content = section(changed)
    assert (content["main"], content["others"]) == (None, [])
    assert content["untouched"] == {"CrossModalNet": "No streams.", "MedNeXt": "No streams."}
    assert claims_sentence(changed) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.42, "−0.42"), (1234.5678, "1235"), (32000.0, "32000"), (3.1e-7, "3.1 × 10⁻⁷"),
        (-2e12, "−2 × 10¹²"), (1.0, "1"), (0.98765, "0.9877"),
    ],
)  # fmt: skip
def test_numbers_are_printed_for_readers(value, text):
    assert readable_number(value) == text


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
def test_numbers_in_texts_are_printed_as_on_paper(text, printed):
    assert readable(text) == printed
