from dataclasses import replace

import pytest
import torch
from torch import nn

from crossmodalnet.theory.findings import Verdict
from crossmodalnet.theory.robustness import check, judge
from crossmodalnet.theory.scoring import mean_dice
from crossmodalnet.theory.subject import AuditSubject
from tests.crossmodalnet.theory.subjects import QUICK, make_subject

SETTINGS = replace(QUICK, num_cases=1, attack_radius=2.0)


def row(disturbance: str, level: float, change: float, output: float, dice: float, case: str = "x"):
    changes = {"input_change": change, "output_change": output}
    return {"disturbance": disturbance, "level": level, "case": case, **changes, "dice": dice}


ROWS = [
    row("none", 0, 0, 0, 0.9), row("noise", 1, 2, 4, 0.8), row("blur", 3, 5, 1500, 0.5), row("attack", 1, 2, 60, 0.1),
    row("none", 0, 0, 0, 0.1, "not attacked"), row("noise", 1, 2, 1, 0.1, "not attacked"),
]  # fmt: skip


def test_numbers_by_hand():
    finding = judge(ROWS, 4.0, 0.01)
    assert finding.verdict == Verdict.HOLDS
    assert finding.numbers == pytest.approx({
        "log10_bound": 4, "log10_largest_ratio": 2.4771, "dice_clean": 0.9, "dice_noise": 0.8, "dice_attack": 0.1,
    }, rel=1e-4)  # fmt: skip


def test_a_change_beyond_the_bound_refutes_it():
    finding = judge(ROWS, 2.4, 0.01)
    assert finding.verdict == Verdict.FAILS
    assert "blur at level 3 on x" in finding.counterexample


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cross": False},
        {"streams": "ct"},
        {"transitions": "conv", "deep_supervision": True, "missing_token": True},
    ],
    ids=str,
)
def test_untrained_networks_keep_the_bound(options):
    outcome = check(make_subject(size=8, **options), SETTINGS)
    assert [finding.verdict for finding in outcome.findings] == [Verdict.HOLDS]
    rows = outcome.tables["robustness"]
    assert len(rows) == 1 + 4 * 3 + 1
    assert {row["disturbance"] for row in rows} == {"none", "noise", "bias field", "blur", "motion", "attack"}


def test_noise_of_level_one_is_as_large_as_the_attack():
    rows = check(make_subject(size=8), SETTINGS).tables["robustness"]
    changes = {(r["disturbance"], r["level"]): r["input_change"] for r in rows}
    assert changes["attack", 1] == pytest.approx(2 * 0.01 * 1024**0.5, rel=1e-3)
    assert changes["noise", 1] == pytest.approx(changes["attack", 1], rel=0.1)
    assert changes["noise", 1] < changes["noise", 2] < changes["noise", 3]


def test_the_same_bits_again():
    subject = make_subject(size=8)
    assert check(subject, SETTINGS) == check(subject, SETTINGS)


def test_other_networks_have_no_known_bound():
    network = nn.Conv3d(2, 8, 1)
    other = AuditSubject(
        network, network, None, (8, 8, 8), [], make_subject(size=8).test, ("ce",), "paper", 1.0, {}
    )
    assert [finding.verdict for finding in check(other, SETTINGS).findings] == [Verdict.NOT_APPLICABLE]


def test_dice_is_of_the_structures_that_are_there():
    truth = torch.tensor([0, 1, 1, 2])
    assert mean_dice(torch.tensor([3, 1, 1, 0]), truth) == pytest.approx((1 + 0) / 2)
    assert mean_dice(torch.tensor([0, 1]), torch.tensor([0, 0])) == 1
