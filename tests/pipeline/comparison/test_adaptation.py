import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.adaptation import (
    LOWER,
    UPPER,
    DomainScores,
    adaptation_table,
    compare_adaptation,
    structure_table,
)
from pipeline.comparison.statements import Findings
from pipeline.config.sections import CompareConfig

PARAMS = CompareConfig(bootstrap_samples=200)
OURS = "crossmodalnet"
Cases = Callable[..., pd.DataFrame]


@pytest.fixture
def scores(cases: Cases) -> DomainScores:
    """Two cases, one seed; the adapted network is 0.1 worse than source-only in LV, 0.2 better elsewhere."""
    source = {LOWER: cases([[0.9], [0.7]]), OURS: cases([[0.88], [0.7]]), UPPER: cases([[0.3], [0.3]])}
    target = {
        LOWER: cases([[0.4], [0.4]], "t"), OURS: cases([[0.6], [0.6]], "t"), UPPER: cases([[0.9], [0.9]], "t"),
    }  # fmt: skip
    target[OURS].loc[target[OURS]["structure"] == "LV", "dice"] = 0.3
    return DomainScores(source, target)


def test_means_of_seven_and_of_four_structures(scores: DomainScores) -> None:
    table = adaptation_table(scores, PARAMS).set_index(["method", "domain", "structure", "metric"])["mean"]
    assert table[OURS, "target", "mean", "dice"] == pytest.approx((6 * 0.6 + 0.3) / 7)
    assert table[OURS, "target", "mean4", "dice"] == pytest.approx((3 * 0.6 + 0.3) / 4)  # AO, LA, LV, Myo
    assert table[LOWER, "source", "RA", "dice"] == pytest.approx(0.8)
    assert table[LOWER, "target", "mean4", "hd95_mm"] == pytest.approx(6.0)
    assert {key[3] for key in table.index} == {"dice", "hd95_mm", "assd_mm", "betti_error"}


def test_structures_are_compared_with_source_only(scores: DomainScores) -> None:
    table = structure_table(scores, PARAMS).set_index("structure")
    assert table.loc["LV", "difference"] == pytest.approx(-0.1)
    assert table.loc["PA", ["difference", "low", "high"]].tolist() == pytest.approx([0.2] * 3)


def texts(found: Findings) -> dict[str, str]:
    return {statement["kind"]: statement["text"] for statement in found.statements}


def test_sentences_say_share_price_and_where(scores: DomainScores) -> None:
    said = texts(compare_adaptation(scores, PARAMS))
    assert said["gap"] == (  # 0.157 of 0.5
        "JADA recovers 31 % [31, 31] of the gap between source-only (0.400) and supervised training (0.900) on the "
        "target in Dice, 0.557 (2 test cases, 1 seed); on the source it loses 0.010 Dice [0.000, 0.020]."
    )
    assert said["structures"] == (
        "On the target JADA has a higher Dice than source-only training in 6 of 7 structures, in 6 of them with an "
        "interval above 0; not in LV (1 with an interval below 0)."
    )
    assert "seeds" not in said


def test_a_share_below_zero_is_nothing_recovered(scores: DomainScores, cases: Cases) -> None:
    worse = DomainScores(scores.source, {**scores.target, OURS: cases([[0.3], [0.3]], "t")})
    text = texts(compare_adaptation(worse, PARAMS))["gap"]
    assert text.startswith("JADA recovers nothing of the gap between source-only (0.400) and supervised")
    assert "its Dice is 0.300 there, a share of -20 % [-20, -20]" in text


def test_supervised_training_that_is_no_better_leaves_no_gap(scores: DomainScores, cases: Cases) -> None:
    flat = DomainScores(scores.source, {**scores.target, UPPER: cases([[0.4], [0.2]], "t")})
    text = texts(compare_adaptation(flat, PARAMS))["gap"]
    assert text.startswith("On the target supervised training (Dice 0.300) is no better than source-only")
    assert "%" not in text


def test_parts_and_seeds_have_their_sentences(cases: Cases) -> None:
    target = {LOWER: [0.4, 0.4], OURS: [0.6, 0.7], "crossmodalnet-no_marginal": [0.5, 0.5], UPPER: [0.8, 0.8]}
    methods = {name: cases([dice] * 3) for name, dice in target.items()}
    said = texts(compare_adaptation(DomainScores(methods, methods), PARAMS))
    assert said["seeds"] == "Share of the gap that JADA recovers with each seed: seed 0 50 %, seed 1 75 %."
    assert said["part"].startswith(
        "JADA without marginal alignment recovers 25 % [25, 25], Dice 0.500; on the source"
    )
    assert said["part"].endswith("it gains 0.100 Dice [0.100, 0.100].")


def test_without_target_labels_there_are_source_scores_alone(scores: DomainScores, tmp_path: Path) -> None:
    found = compare_adaptation(DomainScores(scores.source, {}), PARAMS)
    assert set(found.tables["adaptation.csv"]["domain"]) == {"source"}
    found.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"adaptation.csv", "adaptation_statements.json"}
    assert "the target has no labelled test case" in texts(found)["gap"]


def test_files_hold_finite_numbers(scores: DomainScores, tmp_path: Path) -> None:
    compare_adaptation(scores, PARAMS).write(tmp_path)
    names = ("adaptation.csv", "gap.csv", "gap_seeds.csv", "adaptation_structures.csv")
    for name in names:
        numbers = pd.read_csv(tmp_path / name).select_dtypes("number").to_numpy()
        assert numbers.size
        assert np.isfinite(numbers).all()
    assert json.loads((tmp_path / "adaptation_statements.json").read_text("utf-8"))[0]["kind"] == "gap"
