from dataclasses import replace

import pandas as pd

from pipeline.report.artefacts.records import Artefacts
from pipeline.report.robustness.modality_section import modality_tables

NAN = float("nan")
COLUMNS = (
    "method", "view", "metric", "mean", "low", "high", "difference", "difference_low", "difference_high",
)  # fmt: skip


def with_modalities(artefacts: Artefacts, table: pd.DataFrame | None) -> Artefacts:
    return replace(artefacts, comparison=replace(artefacts.comparison, modalities=table))


def test_a_row_per_view_with_its_difference_to_the_pair(artefacts: Artefacts) -> None:
    rows = [
        ("crossmodalnet", "pair", "dice", 0.9, 0.8, 0.95, NAN, NAN, NAN),
        ("crossmodalnet", "pair", "hd95_mm", 4.0, 3.0, 5.0, NAN, NAN, NAN),
        ("crossmodalnet", "ct_alone", "dice", 0.85, 0.7, 0.9, -0.05, -0.1, 0.01),
        ("crossmodalnet", "mr_alone", "dice", 0.91, 0.7, 0.95, 0.01, -0.02, 0.04),
    ]
    ((title, table),) = modality_tables(with_modalities(artefacts, pd.DataFrame(rows, columns=list(COLUMNS))))
    assert title == "CrossModalNet"
    assert table.headings[3:6] == ["MIoU", "HD95, mm", "NSD"]
    assert table.rows == [
        ["CT + MR", "0.900", "0.800 to 0.950", "–", "4.0", "–", "–", "–"],
        ["CT alone", "0.850", "0.700 to 0.900", "–", "–", "–", "−0.050", "−0.100 to +0.010"],
        ["MR alone", "0.910", "0.700 to 0.950", "–", "–", "–", "+0.010", "−0.020 to +0.040"],
    ]


def test_nothing_where_no_network_can_do_without_a_modality(artefacts: Artefacts) -> None:
    assert modality_tables(with_modalities(artefacts, None)) == []


def test_what_the_comparison_wrote_is_shown(artefacts: Artefacts) -> None:
    ((title, table),) = modality_tables(artefacts)
    assert (title, [row[0] for row in table.rows]) == ("CrossModalNet", ["CT + MR", "CT alone", "MR alone"])
    assert table.rows[1][6] == "−0.030"
