from dataclasses import replace

import pandas as pd
import pytest

from pipeline.report.artefacts.comparison_records import MisregistrationRecord, StatementRecord
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.robustness.misregistration_section import misregistration_section

TABLE = pd.DataFrame(
    [
        ("crossmodalnet", 0.0, 0.0, 0.9), ("crossmodalnet", 5.0, 10.0, 0.8),
        ("mednext", 0.0, 0.0, 0.95), ("mednext", 5.0, 10.0, 0.7),
        ("crossmodalnet-no_cross", 0.0, 0.0, 0.85), ("crossmodalnet-no_cross", 5.0, 10.0, 0.84),
    ],
    columns=["method", "moved_mm", "turned_degrees", "dice"],
).assign(low=0.6, high=0.97)  # fmt: skip
LOSSES = pd.DataFrame(
    [("crossmodalnet-no_cross", 0.01, 0.0, 0.02), ("crossmodalnet", 0.1, 0.05, 0.15)],
    columns=["method", "loss", "low", "high"],
)
SAID = [
    StatementRecord("misregistration_loss", "least", "first"),
    StatementRecord("misregistration_loss", "part", "supported", "ablations"),
]


def with_misregistration(artefacts: Artefacts, found: MisregistrationRecord | None) -> Artefacts:
    return replace(artefacts, comparison=replace(artefacts.comparison, misregistration=found))


def test_table_has_a_column_per_shift_and_what_is_lost(artefacts: Artefacts) -> None:
    section = misregistration_section(
        with_misregistration(artefacts, MisregistrationRecord(TABLE, LOSSES, SAID))
    )
    assert section is not None
    assert section.table.headings == ["Method", "0 mm", "5 mm", "Lost from 5 mm on", "95 % interval"]
    assert section.table.rows == [
        ["CrossModalNet", "0.900", "0.800", "0.100", "0.050 to 0.150"],
        ["MedNeXt", "0.950", "0.700", "–", "–"],
        ["CrossModalNet (without cross attention)", "0.850", "0.840", "0.010", "0.000 to 0.020"],
    ]
    assert section.degrees == "10"


def test_statements_on_ablations_are_apart(artefacts: Artefacts) -> None:
    section = misregistration_section(
        with_misregistration(artefacts, MisregistrationRecord(TABLE, LOSSES, SAID))
    )
    assert section is not None
    assert section.said.entries == [("first", "first", "least")]
    assert section.ablations.entries == [("supported", "supported", "part")]


def test_without_a_far_shift_no_loss_is_printed(artefacts: Artefacts) -> None:
    found = MisregistrationRecord(TABLE, LOSSES.iloc[:0], [])
    section = misregistration_section(with_misregistration(artefacts, found))
    assert section is not None
    assert section.table.headings == ["Method", "0 mm", "5 mm"]


def test_nothing_measured_nothing_shown(artefacts: Artefacts) -> None:
    assert misregistration_section(with_misregistration(artefacts, None)) is None


def test_what_the_comparison_wrote_is_read(artefacts: Artefacts) -> None:
    found = artefacts.comparison.misregistration
    assert found is not None
    # The network of one stream was not measured.
    assert list(dict.fromkeys(found.table["method"])) == [
        "crossmodalnet",
        "mednext",
        "crossmodalnet-no_cross",
    ]
    assert found.losses["loss"].iloc[0] == pytest.approx(found.losses["loss"].min())
    assert found.statements[0].kind in ("first", "not_first")
