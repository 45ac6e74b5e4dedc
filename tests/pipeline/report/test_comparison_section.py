from dataclasses import replace

import pytest

from pipeline.report.comparison_records import Comparison, Difference, Statement
from pipeline.report.comparison_section import comparison_section, interval, signed
from pipeline.report.drawing import metric_of
from pipeline.report.records import Artefacts


def test_one_network_is_not_compared(artefacts: Artefacts) -> None:
    alone = replace(artefacts, results=[artefacts.results[0], artefacts.atlas])
    assert comparison_section(alone) is None


def test_statements_are_grouped_by_measure_and_the_papers_come_first(artefacts: Artefacts) -> None:
    said = [
        Statement("nsd", "n", "supported"),
        Statement("hd95_mm", "h", "not_supported"),
        Statement("dice", "d1", "underpowered"),
        Statement("", "all", "new_kind"),
        Statement("dice", "d2", "supported"),
    ]
    changed = Comparison({}, artefacts.comparison.ranks, said)
    section = comparison_section(replace(artefacts, comparison=changed))
    assert section is not None
    assert [(group.title, group.main) for group in section.said] == [
        ("In general", True), ("Dice", True), ("HD95", True), ("NSD", False),
    ]  # fmt: skip
    assert section.said[0].entries == [("new kind", "new_kind", "all")]
    assert [text for _, _, text in section.said[1].entries] == ["d1", "d2"]


def test_pairwise_tests_are_printed_by_measure(artefacts: Artefacts) -> None:
    known = Difference(-0.0123, -0.02, 0.004, 0.0625, 0.25, -0.6, "underpowered")
    changed = replace(
        artefacts.comparison, differences={("dice", "mednext", "crossmodalnet-no_cross"): known}
    )
    section = comparison_section(replace(artefacts, comparison=changed))
    assert section is not None
    ((title, table),) = section.pairwise
    assert title == "Dice (above 0: a is better)"
    assert table.rows == [
        ["MedNeXt", "CrossModalNet without cross attention", "−0.012", "−0.020 to +0.004", "0.0625", "0.25",
         "−0.60", "underpowered"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "+0.2"), (-1.26, "−1.3"), (-0.01, "+0.0"), (float("nan"), "–")]
)
def test_signs_are_printed_but_no_minus_zero(value: float, text: str) -> None:
    assert signed(value, metric_of("hd95_mm")) == text


def test_absent_interval_is_a_dash() -> None:
    nan = float("nan")
    assert interval(Difference(0.1, nan, nan, 1.0, 1.0, 0.0, "not_supported"), metric_of("dice")) == "–"
