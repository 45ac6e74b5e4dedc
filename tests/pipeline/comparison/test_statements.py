from typing import Any

import pandas as pd

from pipeline.comparison.pairwise import COLUMNS, RANK_COLUMNS
from pipeline.comparison.statements import statements


def compared(*rows: dict[str, Any]) -> pd.DataFrame:
    plain = {
        "family": "models", "metric": "dice", "method_a": "crossmodalnet", "method_b": "swin_unetr",
        "difference": 0.021, "low": 0.01, "high": 0.032, "p_value": 0.001, "p_holm": 0.004, "effect_size": 0.9,
        "num_pairs": 16, "num_tests": 6, "verdict": "supported",
    }  # fmt: skip
    return pd.DataFrame([plain | row for row in rows], columns=list(COLUMNS))


def ranks_of(*rows: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame([("dice", *row, 16) for row in rows], columns=list(RANK_COLUMNS))


def texts(pairwise: pd.DataFrame, ranks: pd.DataFrame | None = None, **options: Any) -> list[tuple[str, str]]:
    ranks = ranks_of() if ranks is None else ranks
    found = statements(pairwise, ranks, "crossmodalnet", 0.05, **options)
    return [(statement["kind"], statement["text"]) for statement in found]


def test_a_supported_difference_names_the_better_one() -> None:
    assert texts(compared({})) == [
        ("supported", "Dice: CrossModalNet is better than Swin UNETR by 0.021 [0.010, 0.032] (Holm p = 0.004, "
                      "16 pairs): supported.")
    ]  # fmt: skip


def test_a_lower_distance_is_better_and_a_higher_one_worse() -> None:
    better = {"metric": "hd95_mm", "difference": -1.5, "low": -2.0, "high": -0.5, "p_holm": 0.0001}
    worse = {"metric": "hd95_mm", "difference": 1.5, "low": 0.5, "high": 2.0, "p_holm": 0.0001}
    found = [text for _, text in texts(compared(better, worse))]
    end = "by 1.5 mm [0.5, 2.0] (Holm p < 0.001, 16 pairs): supported."
    assert found == [f"HD95: CrossModalNet is {word} than Swin UNETR {end}" for word in ("better", "worse")]


def test_an_unsupported_difference_is_no_claim() -> None:
    row = {"difference": -0.004, "low": -0.01, "high": 0.002, "p_holm": 0.31, "verdict": "not_supported"}
    assert texts(compared(row)) == [
        ("not_supported", "Dice: the data do not support a difference between CrossModalNet and Swin UNETR "
                          "(CrossModalNet worse by 0.004 [-0.002, 0.010]; Holm p = 0.31, 16 pairs).")
    ]  # fmt: skip


def test_too_few_pairs_are_said_once_and_in_each_sentence() -> None:
    row = {"num_pairs": 5, "p_value": 0.0625, "p_holm": 0.375, "verdict": "underpowered"}
    found = texts(compared(row, row | {"metric": "iou"}))
    assert [kind for kind, _ in found] == ["underpowered"] * 3
    assert found[0][1].startswith(
        "With 5 test pairs no paired Wilcoxon test against the other methods can reach p < 0.05 after correction for "
        "6 comparisons (smallest possible p 0.0625 before it): underpowered, read intervals, not verdicts"
    )
    assert found[1][1].endswith("by 0.021 [0.010, 0.032] on 5 pairs, too few for a verdict.")


def test_being_first_comes_with_its_share() -> None:
    found = texts(compared(), ranks_of(("crossmodalnet", 1, 1, 2, 0.834), ("vtunet", 2, 1, 2, 0.166)))
    assert found == [
        ("first", "Dice: CrossModalNet is first of 2 methods, in 83 % of the bootstrap samples "
                  "(rank 1, 95 % interval 1 to 2).")
    ]  # fmt: skip


def test_not_being_first_is_said_plainly() -> None:
    ranks = ranks_of(("swin_unetr", 1, 1, 1, 0.9), ("vtunet", 2, 1, 3, 0.1), ("crossmodalnet", 3, 2, 3, 0.0))
    kind, text = texts(compared({"difference": -0.021, "low": -0.032, "high": -0.01}), ranks)[0]
    assert kind == "not_first"
    assert text == (
        "Dice: Swin UNETR is first of 3 methods, in 90 % of the bootstrap samples. CrossModalNet is not first "
        "(rank 3, 95 % interval 2 to 3), 0.021 behind Swin UNETR; that difference is supported."
    )


def test_a_shared_first_place_names_all() -> None:
    ranks = ranks_of(("swin_unetr", 1.5, 1, 2, 0.5), ("crossmodalnet", 1.5, 1, 2, 0.5))
    kind, text = texts(compared(), ranks)[0]
    assert kind == "first"
    assert (
        "Swin UNETR and CrossModalNet are first of 2 methods, in 50 % of the bootstrap samples each" in text
    )
