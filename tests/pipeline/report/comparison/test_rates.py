from dataclasses import replace

import pytest

from pipeline.report.artefacts.records import Artefacts
from pipeline.report.comparison.rates import judge, rate_table
from pipeline.training.tuning import TrialResult


def trials(**dice: float) -> list[TrialResult]:
    return [TrialResult("x", float(lr.removeprefix("lr")), value, 5) for lr, value in dice.items()]


@pytest.mark.parametrize(
    ("tried", "sound", "finding"),
    [
        ({}, False, "not tuned"),
        ({"lr1": 0.5, "lr2": 0.7, "lr3": 0.6}, True, "best of 3 tried"),
        ({"lr2": 0.7, "lr3": 0.6, "lr4": 0.6}, True, "best of 3 tried, the lowest"),
        ({"lr0": 0.1, "lr1": 0.6, "lr2": 0.7}, True, "best of 3 tried, the highest"),
        ({"lr1": 0.5, "lr2": 0.7}, False, "best of 2 tried, fewer than 3"),
        ({"lr1": 0.8, "lr2": 0.7, "lr3": 0.6}, False, "not the best tried, 1 was better"),
        ({"lr1": 0.8, "lr3": 0.6, "lr4": 0.6}, False, "not one of those tried, of which 1 was best"),
    ],
)
def test_a_rate_of_2_is_judged(tried: dict[str, float], sound: bool, finding: str) -> None:
    assert judge(2.0, trials(**tried)) == (sound, finding)


def test_tuned_network_off_its_best_is_warned_of_and_untuned_one_is_not(artefacts: Artefacts) -> None:
    worse = {
        "crossmodalnet": [
            TrialResult("x", 0.001, 0.5, 3),
            TrialResult("x", 0.002, 0.9, 3),
            TrialResult("x", 0.004, 0.6, 3),
        ],
        "mednext": [],
    }
    table, warnings = rate_table(replace(artefacts, trials=worse))
    assert warnings == ["CrossModalNet runs at 0.001: not the best tried, 0.002 was better."]
    assert table.rows[0][1:4] == ["0.001", "0.001 (0.500), 0.002 (0.900), 0.004 (0.600)", "3"]
    assert table.rows[1] == ["MedNeXt", "0.001", "–", "–", "not tuned"]
