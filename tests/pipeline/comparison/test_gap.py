import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.adaptation import DomainScores, gap_by_seed, gap_table, share_of_gap
from pipeline.config.sections import CompareConfig

PARAMS = CompareConfig(bootstrap_samples=400)
LOWER, OURS, UPPER = "crossmodalnet-source_only", "crossmodalnet", "crossmodalnet-supervised"
Cases = Callable[..., pd.DataFrame]


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


def scores(cases: Cases) -> DomainScores:
    """Two cases, two seeds: on the target 0.4, 0.6 and 0.8 with seed 0; 0.5, 0.6 and 0.9 with seed 1."""
    target = {LOWER: [0.4, 0.5], OURS: [0.6, 0.6], "crossmodalnet-kernel": [0.3, 0.4], UPPER: [0.8, 0.9]}
    source = {LOWER: [0.9, 0.9], OURS: [0.89, 0.87], "crossmodalnet-kernel": [0.93, 0.93], UPPER: [0.5, 0.5]}
    return DomainScores(
        *({name: cases([dice, dice]) for name, dice in domain.items()} for domain in (source, target))
    )


def test_the_table_has_shares_and_losses_of_all_that_is_no_bound(cases: Cases) -> None:
    table = gap_table(scores(cases), PARAMS).set_index(["method", "structure"])
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
    table = gap_by_seed(scores(cases))
    own = table[(table["method"] == OURS) & (table["structure"] == "mean")]
    assert own["seed"].tolist() == [0, 1]
    assert own["share"].tolist() == pytest.approx([0.5, 0.25])


@pytest.mark.parametrize("absent", [LOWER, UPPER])
def test_without_a_bound_there_is_no_share(cases: Cases, absent: str) -> None:
    known = scores(cases)
    left = DomainScores(*({k: v for k, v in d.items() if k != absent} for d in (known.source, known.target)))
    assert gap_table(left, PARAMS).empty
    assert gap_by_seed(left).empty
