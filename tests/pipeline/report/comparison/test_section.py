from dataclasses import replace

import pytest

from pipeline.report.artefacts.comparison_records import Difference, StatementRecord
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.charts.drawing import metric_of
from pipeline.report.comparison.section import comparison_section, interval, signed


def test_one_network_is_not_compared(artefacts: Artefacts) -> None:
    alone = replace(artefacts, results=[artefacts.results[0], artefacts.results[-1]])
    assert comparison_section(alone) is None


def test_statements_are_grouped_by_measure_under_who_is_first(artefacts: Artefacts) -> None:
    said = [
        StatementRecord("all", "weak", "underpowered", "models"),
        StatementRecord("all", "weak", "underpowered", "ablations"),
        StatementRecord("nsd", "n1", "first"),
        StatementRecord("hd95_mm", "h", "not_supported", "models"),
        StatementRecord("dice", "d1", "not_first"),
        StatementRecord("dice", "d2", "supported", "models"),
        StatementRecord("dice", "a1", "supported", "ablations"),
    ]
    changed = replace(artefacts.comparison, statements=said)
    section = comparison_section(replace(artefacts, comparison=changed))
    assert section is not None
    assert section.standings.entries == [
        ("not first", "not_first", "d1"), ("underpowered", "underpowered", "weak"),
    ]  # fmt: skip
    groups = [(group.title, group.main, [text for _, _, text in group.entries]) for group in section.said]
    assert groups == [("Dice", True, ["d2"]), ("HD95", True, ["h"]), ("NSD", False, ["n1"])]


def test_pairwise_tests_are_printed_by_measure_and_family(artefacts: Artefacts) -> None:
    known = Difference(-0.0123, -0.02, 0.004, 0.0625, 0.25, -0.6, "underpowered")
    differences = {("dice", "crossmodalnet", name): known for name in ("mednext", "crossmodalnet-no_cross")}
    all_pairs = {("dice", "mednext", "atlas"): known}
    changed = replace(artefacts.comparison, differences=differences, all_pairs=all_pairs)
    section = comparison_section(replace(artefacts, comparison=changed))
    assert section is not None
    (title, table), (other_title, other) = section.pairwise
    assert title == "Dice (above 0: a is better)"
    assert table.rows == [  # without the ablation, which has its section
        ["CrossModalNet", "MedNeXt", "−0.012", "−0.020 to +0.004", "0.0625", "0.25", "−0.60", "underpowered"],
    ]  # fmt: skip
    assert other_title == "Everyone against everyone, Dice (above 0: a is better)"
    assert other.rows[0][:2] == ["MedNeXt", "Atlas baseline"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "+0.2"), (-1.26, "−1.3"), (-0.01, "+0.0"), (float("nan"), "–")]
)
def test_signs_are_printed_but_no_minus_zero(value: float, text: str) -> None:
    assert signed(value, metric_of("hd95_mm")) == text


def test_absent_interval_is_a_dash() -> None:
    nan = float("nan")
    assert interval(Difference(0.1, nan, nan, 1.0, 1.0, 0.0, "not_supported"), metric_of("dice")) == "–"
