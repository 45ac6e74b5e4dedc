from typing import Any

import pandas as pd
import pytest

from pipeline.comparison.pairwise import COLUMNS, RANK_COLUMNS
from pipeline.comparison.statements import statements

PLAIN = {
    "family": "models", "metric": "dice", "method_a": "crossmodalnet", "method_b": "swin_unetr",
    "difference": 0.021, "low": 0.01, "high": 0.032, "p_value": 0.001, "p_holm": 0.004, "effect_size": 0.9,
    "num_pairs": 16, "num_tests": 6, "verdict": "supported",
}  # fmt: skip
CLOSER = {"metric": "hd95_mm", "difference": -1.5, "low": -2.0, "high": -0.5, "p_holm": 0.0001}
FARTHER = {**CLOSER, "difference": 1.5, "low": 0.5, "high": 2.0}
UNCLEAR = {"difference": -0.004, "low": -0.01, "high": 0.002, "p_holm": 0.31, "verdict": "not_supported"}
FEW = {"num_pairs": 5, "p_value": 0.0625, "p_holm": 0.375, "verdict": "underpowered"}


def texts(rows: list[dict[str, Any]], ranks: list[tuple[Any, ...]]) -> list[tuple[str, str]]:
    pairwise = pd.DataFrame([PLAIN | row for row in rows], columns=list(COLUMNS))
    ranked = pd.DataFrame([("dice", *row, 16) for row in ranks], columns=list(RANK_COLUMNS))
    found = statements(pairwise, ranked, "crossmodalnet", 0.05)
    return [(statement["kind"], statement["text"]) for statement in found]


@pytest.mark.parametrize(
    ("row", "kind", "text"),
    [
        ({}, "supported", "better than Swin UNETR by 0.021 [0.010, 0.032] (Holm p = 0.004, 16 pairs)"),
        (CLOSER, "supported", "better than Swin UNETR by 1.5 mm [0.5, 2.0] (Holm p < 0.001, 16 pairs)"),
        (FARTHER, "supported", "worse than Swin UNETR by 1.5 mm [0.5, 2.0] (Holm p < 0.001, 16 pairs)"),
        (UNCLEAR, "not_supported", "(CrossModalNet worse by 0.004 [-0.002, 0.010]; Holm p = 0.31, 16 pairs)"),
    ],
)
def test_a_difference_is_stated_with_its_direction_interval_and_p(row, kind, text) -> None:
    [found] = texts([row], [])
    assert found[0] == kind
    assert text in found[1]


def test_too_few_pairs_are_stated_once_and_in_each_sentence() -> None:
    found = texts([FEW, FEW | {"metric": "iou"}], [])
    assert [kind for kind, _ in found] == ["underpowered"] * 3
    assert "5 test pairs" in found[0][1]
    assert "6 comparisons (smallest possible p 0.0625" in found[0][1]
    assert "0.021 [0.010, 0.032] on 5 pairs" in found[1][1]


FIRST = [("crossmodalnet", 1, 1, 2, 0.834), ("vtunet", 2, 1, 2, 0.166)]
BEHIND = [("swin_unetr", 1, 1, 1, 0.9), ("vtunet", 2, 1, 3, 0.1), ("crossmodalnet", 3, 2, 3, 0.0)]
SHARED = [("swin_unetr", 1.5, 1, 2, 0.5), ("crossmodalnet", 1.5, 1, 2, 0.5)]


@pytest.mark.parametrize(
    ("ranks", "kind", "text"),
    [
        (FIRST, "first", "in 83 % of the bootstrap samples (rank 1, 95 % interval 1 to 2)"),
        (BEHIND, "not_first", "not first (rank 3, 95 % interval 2 to 3), 0.021 behind Swin UNETR"),
        (SHARED, "first", "Swin UNETR and CrossModalNet are first of 2 methods, in 50 %"),
    ],
)
def test_ranks_are_stated_with_intervals_and_shares(ranks, kind, text) -> None:
    found = texts([{"difference": -0.021, "low": -0.032, "high": -0.01}], ranks)[0]
    assert found[0] == kind
    assert text in found[1]
