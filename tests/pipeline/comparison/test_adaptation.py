import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from pipeline.comparison.adaptation import (
    LOWER,
    UPPER,
    DomainScores,
    adaptation_table,
    compare_adaptation,
    gap_by_seed,
    gap_table,
    read_domain_scores,
    share_of_gap,
    structure_table,
)
from pipeline.comparison.statements import Findings
from pipeline.config.sections import CompareConfig

Cases = Callable[..., pd.DataFrame]


@pytest.fixture
def evaluation(tmp_path: Path, cases: Cases) -> Path:
    """Evaluations of an adapted network, both bounds and a part, with two seeds."""
    for variant in ("", "-source_only", "-supervised", "-no_output"):
        for seed in (0, 4):
            folder = tmp_path / f"crossmodalnet{variant}/seed{seed}"
            (folder / "target").mkdir(parents=True)
            cases([[0.9], [0.8]]).drop(columns="seed").to_csv(folder / "cases.csv", index=False)
            target = cases([[0.5], [0.6], [0.7]], prefix="t").drop(columns="seed")
            target.to_csv(folder / "target/cases.csv", index=False)
    return tmp_path


VARIANTS = ("no_output", "supervised", "source_only")


def test_both_domains_of_every_method_and_seed_are_read(evaluation: Path) -> None:
    found = read_domain_scores(evaluation, VARIANTS, (0, 4))
    assert (
        list(found.source) == list(found.target) == [LOWER, "crossmodalnet", "crossmodalnet-no_output", UPPER]
    )
    assert set(found.source[UPPER]["pair"]) == {"p00", "p01"}
    assert set(found.target[LOWER]["pair"]) == {"t00", "t01", "t02"}
    assert found.target["crossmodalnet"]["seed"].unique().tolist() == [0, 4]


@pytest.mark.parametrize("path", ["cases.csv", "target/cases.csv"])
def test_a_missing_evaluation_names_file_and_command(evaluation: Path, path: str) -> None:
    (evaluation / "crossmodalnet-no_output/seed4" / path).unlink()
    message = rf"no_output/seed4/{path} cannot be read .*: run `dvc repro evaluate evaluate-adaptation`"
    with pytest.raises(DataError, match=message):
        read_domain_scores(evaluation, VARIANTS, (0, 4))


def test_a_target_without_labels_has_no_scores(evaluation: Path) -> None:
    for path in evaluation.glob("*/*/target/cases.csv"):
        path.unlink()
    found = read_domain_scores(evaluation, VARIANTS, (0, 4))
    assert len(found.source) == 4
    assert found.target == {}


PARAMS = CompareConfig(bootstrap_samples=400)
OURS = "crossmodalnet"


def test_the_share_of_one_case_is_the_quotient() -> None:
    share, ends, num_without_gap = share_of_gap(np.array([0.4, 0.65, 0.8]).reshape(3, 1, 1), PARAMS)
    assert (share, *ends) == pytest.approx((0.625,) * 3)  # 0.25 of 0.4
    assert num_without_gap == 0


def test_pairing_removes_what_cases_and_seeds_share() -> None:
    # Every case and seed has its own level, but the share of the gap is one half in each of them.
    lower = np.array([[0.2, 0.3], [0.5, 0.7], [0.1, 0.4]])
    gap = np.array([[0.4, 0.2], [0.1, 0.2], [0.6, 0.3]])
    share, ends, _ = share_of_gap(np.stack([lower, lower + gap / 2, lower + gap]), PARAMS)
    assert (share, *ends) == pytest.approx((0.5,) * 3)


def test_the_interval_is_that_of_all_equally_likely_draws() -> None:
    # Two cases, one seed: shares 0.2 (1/4 of draws), 0.5 (1/2) and 0.8 (1/4) at equal gaps.
    values = np.array([[[0.3], [0.3]], [[0.4], [0.7]], [[0.8], [0.8]]])
    share, ends, _ = share_of_gap(values, PARAMS)
    assert (share, *ends) == pytest.approx((0.5, 0.2, 0.8))


def test_bounds_that_are_equal_have_no_share() -> None:
    share, (low, _), num_without_gap = share_of_gap(np.array([[[0.5]], [[0.6]], [[0.5]]]), PARAMS)
    assert math.isnan(share)
    assert math.isnan(low)
    assert num_without_gap == 400


def test_too_many_draws_without_a_gap_leave_no_interval() -> None:
    # The case with gap -0.2 is drawn twice in a quarter of the draws.
    values = np.array([[[0.4], [0.6]], [[0.5], [0.6]], [[0.8], [0.4]]])
    share, ends, num_without_gap = share_of_gap(values, PARAMS)
    assert share == pytest.approx(0.05 / 0.1)
    assert 60 < num_without_gap < 140
    assert np.isnan(ends).all()


def test_a_few_draws_without_a_gap_widen_the_interval() -> None:
    # Of eight cases one has no gap. Drawn k times, the share is 4 / (8 - 2 k); from k = 4 on, in 1 % of the draws,
    # there is no gap.
    gap = np.array([-0.3] + [0.3] * 7)
    method = 0.5 * np.abs(gap)
    values = np.stack([np.zeros(8), method, gap])[:, :, None]
    _, (low, high), num_without_gap = share_of_gap(values, CompareConfig(bootstrap_samples=4000))
    assert 0 < num_without_gap <= 0.025 * 4000
    assert low == pytest.approx(4 / 8)
    assert high >= 4 / 4


def two_seeds(cases: Cases) -> DomainScores:
    """Two cases, two seeds: on the target 0.4, 0.6 and 0.8 with seed 0; 0.5, 0.6 and 0.9 with seed 1."""
    target = {LOWER: [0.4, 0.5], OURS: [0.6, 0.6], "crossmodalnet-kernel": [0.3, 0.4], UPPER: [0.8, 0.9]}
    source = {LOWER: [0.9, 0.9], OURS: [0.89, 0.87], "crossmodalnet-kernel": [0.93, 0.93], UPPER: [0.5, 0.5]}
    return DomainScores(
        *({name: cases([dice, dice]) for name, dice in domain.items()} for domain in (source, target))
    )


def test_the_table_has_shares_and_losses_of_all_that_is_no_bound(cases: Cases) -> None:
    table = gap_table(two_seeds(cases), PARAMS).set_index(["method", "structure"])
    assert list(table.index) == [
        (name, structure) for name in (OURS, "crossmodalnet-kernel") for structure in ("mean", "mean4")
    ]
    ours, kernel = table.loc[(OURS, "mean")], table.loc[("crossmodalnet-kernel", "mean")]
    assert ours["share"] == pytest.approx(0.15 / 0.4)
    assert [ours["low"], ours["high"]] == pytest.approx([0.25, 0.5])  # of seed 1 alone and of seed 0 alone
    assert ours["source_loss"] == pytest.approx(0.02)
    assert [ours["source_loss_low"], ours["source_loss_high"]] == pytest.approx([0.01, 0.03])
    assert ours[["num_subjects", "num_seeds", "num_without_gap"]].tolist() == [2, 2, 0]
    assert (kernel["share"], kernel["source_loss"]) == pytest.approx((-0.25, -0.03))


def test_shares_of_single_seeds(cases: Cases) -> None:
    table = gap_by_seed(two_seeds(cases))
    own = table[(table["method"] == OURS) & (table["structure"] == "mean")]
    assert own["seed"].tolist() == [0, 1]
    assert own["share"].tolist() == pytest.approx([0.5, 0.25])


@pytest.mark.parametrize("absent", [LOWER, UPPER])
def test_without_a_bound_there_is_no_share(cases: Cases, absent: str) -> None:
    known = two_seeds(cases)
    left = DomainScores(*({k: v for k, v in d.items() if k != absent} for d in (known.source, known.target)))
    assert gap_table(left, PARAMS).empty
    assert gap_by_seed(left).empty


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
