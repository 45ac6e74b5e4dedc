import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison import adaptation
from pipeline.comparison.adaptation import LOWER, UPPER, DomainScores, share_of_gap
from pipeline.config.sections import CompareConfig
from tests.pipeline.comparison.conftest import Cases, write_cases

OURS, PART, PARAMS = "crossmodalnet", "crossmodalnet-no_output", CompareConfig(bootstrap_samples=400)
VARIANTS = ("no_output", "supervised", "source_only")


@pytest.fixture
def evaluation(tmp_path: Path, cases: Cases) -> Path:
    """Evaluations of an adapted network, both bounds and a part, with two seeds."""
    for method in (OURS, LOWER, UPPER, PART):
        for seed in (0, 4):
            write_cases(tmp_path / f"{method}/seed{seed}", cases([[0.9], [0.8]]))
            write_cases(tmp_path / f"{method}/seed{seed}/target", cases([[0.5], [0.6], [0.7]], prefix="t"))
    return tmp_path


def test_both_domains_of_every_method_and_seed_are_read(evaluation: Path) -> None:
    found = adaptation.read_domain_scores(evaluation, VARIANTS, (0, 4))
    assert list(found.source) == list(found.target) == [LOWER, OURS, PART, UPPER]
    assert set(found.source[UPPER]["pair"]) == {"p00", "p01"}
    assert set(found.target[LOWER]["pair"]) == {"t00", "t01", "t02"}
    assert found.target[OURS]["seed"].unique().tolist() == [0, 4]


def test_a_target_without_labels_has_no_scores(evaluation: Path) -> None:
    for path in evaluation.glob("*/*/target/cases.csv"):
        path.unlink()
    found = adaptation.read_domain_scores(evaluation, VARIANTS, (0, 4))
    assert len(found.source) == 4
    assert found.target == {}


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
    share, ends, num_without_gap = share_of_gap(np.array([[[0.5]], [[0.6]], [[0.5]]]), PARAMS)
    assert np.isnan([share, *ends]).all()
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
    values = np.stack([np.zeros(8), np.abs(gap) / 2, gap])[:, :, None]
    _, (low, high), num_without_gap = share_of_gap(values, CompareConfig(bootstrap_samples=4000))
    assert 0 < num_without_gap <= 0.025 * 4000
    assert low == pytest.approx(4 / 8)
    assert high >= 4 / 4


@pytest.fixture
def two_seeds(cases: Cases) -> DomainScores:
    """Two cases, two seeds: on the target 0.4, 0.6 and 0.8 with seed 0; 0.5, 0.6 and 0.9 with seed 1."""
    target = {LOWER: [0.4, 0.5], OURS: [0.6, 0.6], PART: [0.3, 0.4], UPPER: [0.8, 0.9]}
    source = {LOWER: [0.9, 0.9], OURS: [0.89, 0.87], PART: [0.93, 0.93], UPPER: [0.5, 0.5]}
    domains = ({name: cases([dice] * 2) for name, dice in domain.items()} for domain in (source, target))
    return DomainScores(*domains)


def test_the_table_has_shares_and_losses_of_all_that_is_no_bound(two_seeds: DomainScores) -> None:
    table = adaptation.gap_table(two_seeds, PARAMS).set_index(["method", "structure"])
    assert list(table.index) == [(OURS, "mean"), (OURS, "mean4"), (PART, "mean"), (PART, "mean4")]
    ours, part = table.loc[(OURS, "mean")], table.loc[(PART, "mean")]
    assert ours["share"] == pytest.approx(0.15 / 0.4)
    assert [ours["low"], ours["high"]] == pytest.approx([0.25, 0.5])  # of seed 1 alone and of seed 0 alone
    assert ours["source_loss"] == pytest.approx(0.02)
    assert [ours["source_loss_low"], ours["source_loss_high"]] == pytest.approx([0.01, 0.03])
    assert ours[["num_subjects", "num_seeds", "num_without_gap"]].tolist() == [2, 2, 0]
    assert (part["share"], part["source_loss"]) == pytest.approx((-0.25, -0.03))


@pytest.mark.parametrize("absent", [LOWER, UPPER])
def test_without_a_bound_there_is_no_share(two_seeds: DomainScores, absent: str) -> None:
    left = DomainScores(*({k: v for k, v in domain.items() if k != absent} for domain in two_seeds))
    assert adaptation.gap_table(left, PARAMS).empty
    assert adaptation.gap_by_seed(left).empty


@pytest.fixture
def scores(cases: Cases) -> DomainScores:
    """Two cases, one seed; the adapted network is 0.1 worse than source-only in LV, 0.2 better elsewhere."""
    source = {LOWER: cases([[0.9], [0.7]]), OURS: cases([[0.88], [0.7]]), UPPER: cases([[0.3], [0.3]])}
    target = {name: cases([[dice]] * 2, "t") for name, dice in ((LOWER, 0.4), (OURS, 0.6), (UPPER, 0.9))}
    target[OURS].loc[target[OURS]["structure"] == "LV", "dice"] = 0.3
    return DomainScores(source, target)


def test_means_of_seven_and_of_four_structures(scores: DomainScores) -> None:
    table = adaptation.adaptation_table(scores, PARAMS)
    means = table.set_index(["method", "domain", "structure", "metric"])["mean"]
    assert means[OURS, "target", "mean", "dice"] == pytest.approx((6 * 0.6 + 0.3) / 7)
    assert means[OURS, "target", "mean4", "dice"] == pytest.approx((3 * 0.6 + 0.3) / 4)  # AO, LA, LV, Myo
    assert means[LOWER, "source", "RA", "dice"] == pytest.approx(0.8)
    assert means[LOWER, "target", "mean4", "hd95_mm"] == pytest.approx(6.0)
    assert set(table["metric"]) == {"dice", "hd95_mm", "assd_mm", "betti_error"}


def test_structures_are_compared_with_source_only(scores: DomainScores) -> None:
    table = adaptation.structure_table(scores, PARAMS).set_index("structure")
    assert table.loc["LV", "difference"] == pytest.approx(-0.1)
    assert table.loc["PA", ["difference", "low", "high"]].tolist() == pytest.approx([0.2] * 3)


def texts(scores: DomainScores) -> dict[str, str]:
    return {s["kind"]: s["text"] for s in adaptation.compare_adaptation(scores, PARAMS).statements}


def test_statements_give_share_loss_and_structures(scores: DomainScores) -> None:
    found = texts(scores)
    assert found.keys() == {"gap", "structures"}
    # 0.157 of 0.5
    assert "JADA recovers 31 % [31, 31] of the gap between source-only (0.400) and supervised" in found["gap"]
    assert "0.557 (2 test cases, 1 seed); on the source it loses 0.010 Dice [0.000, 0.020]" in found["gap"]
    assert "6 of 7 structures, in 6 of them" in found["structures"]
    assert "not in LV (1 with" in found["structures"]


def test_a_share_below_zero_is_nothing_recovered(scores: DomainScores, cases: Cases) -> None:
    scores.target[OURS] = cases([[0.3], [0.3]], "t")
    text = texts(scores)["gap"]
    assert text.startswith("JADA recovers nothing")
    assert "its Dice is 0.300 there, a share of -20 % [-20, -20]" in text


def test_supervised_training_that_is_no_better_leaves_no_gap(scores: DomainScores, cases: Cases) -> None:
    scores.target[UPPER] = cases([[0.4], [0.2]], "t")
    text = texts(scores)["gap"]
    assert "supervised training (Dice 0.300) is no better" in text
    assert "%" not in text


def test_parts_and_seeds_have_their_statements(cases: Cases) -> None:
    target = {LOWER: [0.4, 0.4], OURS: [0.6, 0.7], "crossmodalnet-no_marginal": [0.5, 0.5], UPPER: [0.8, 0.8]}
    methods = {name: cases([dice] * 3) for name, dice in target.items()}
    found = texts(DomainScores(methods, methods))
    assert "seed 0 50 %, seed 1 75 %" in found["seeds"]
    assert "JADA without marginal alignment recovers 25 % [25, 25], Dice 0.500" in found["part"]
    assert "it gains 0.100 Dice [0.100, 0.100]" in found["part"]


def test_without_target_labels_there_are_source_scores_alone(scores: DomainScores, tmp_path: Path) -> None:
    found = adaptation.compare_adaptation(DomainScores(scores.source, {}), PARAMS)
    assert set(found.tables["adaptation.csv"]["domain"]) == {"source"}
    found.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"adaptation.csv", "adaptation_statements.json"}


def test_files_hold_finite_numbers(scores: DomainScores, tmp_path: Path) -> None:
    adaptation.compare_adaptation(scores, PARAMS).write(tmp_path)
    for name in ("adaptation.csv", "gap.csv", "gap_seeds.csv", "adaptation_structures.csv"):
        numbers = pd.read_csv(tmp_path / name).select_dtypes("number").to_numpy()
        assert numbers.size
        assert np.isfinite(numbers).all()
    assert json.loads((tmp_path / "adaptation_statements.json").read_text("utf-8"))[0]["kind"] == "gap"
