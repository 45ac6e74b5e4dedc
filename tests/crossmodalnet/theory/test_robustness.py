import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from crossmodalnet.theory import robustness
from crossmodalnet.theory.findings import Verdict
from tests.crossmodalnet.theory.subjects import QUICK, make_subject


def check(**options):
    """Check a network on a single test case."""
    made = make_subject(size=8, **options)
    return robustness.check(replace(made, test=made.test[:1]), QUICK)


def row(*values, case="x"):
    keys = ("disturbance", "level", "input_change", "output_change", "dice")
    return {**dict(zip(keys, values, strict=True)), "case": case}


ROWS = [
    row("none", 0, 0, 0, 0.9), row("noise", 1, 2, 4, 0.8), row("blur", 3, 5, 1500, 0.5), row("attack", 1, 2, 60, 0.1),
    row("none", 0, 0, 0, 0.1, case="not attacked"), row("noise", 1, 2, 1, 0.1, case="not attacked"),
]  # fmt: skip


def test_numbers_by_hand():
    finding = robustness.judge(ROWS, 4.0)
    assert finding.verdict is Verdict.HOLDS
    assert finding.numbers == pytest.approx({
        "log10_bound": 4, "log10_largest_ratio": 2.4771, "dice_clean": 0.9, "dice_noise": 0.8, "dice_attack": 0.1,
    }, rel=1e-4)  # fmt: skip


def test_a_change_beyond_the_bound_refutes_it():
    finding = robustness.judge(ROWS, 2.4)
    assert finding.verdict is Verdict.FAILS
    assert "blur at level 3 on x" in finding.counterexample


@pytest.mark.parametrize(
    "options", [{}, {"cross": False}, {"streams": "ct"}, {"transitions": "conv", "missing_token": True}], ids=str
)
def test_untrained_networks_keep_the_bound(options):
    outcome = check(**options)
    assert [finding.verdict for finding in outcome.findings] == [Verdict.HOLDS]
    tests = [(r["disturbance"], r["level"]) for r in outcome.tables["robustness"]]
    levels = [(name, level) for name in robustness.DISTURBANCES for level in (1, 2, 3)]
    assert sorted(tests) == sorted([("none", 0), *levels, ("attack", 1)])


def test_noise_of_level_one_is_as_large_as_the_attack():
    first, second = check(), check()
    assert first == second
    changes = {(r["disturbance"], r["level"]): r["input_change"] for r in first.tables["robustness"]}
    assert changes["attack", 1] == pytest.approx(0.01 * 1024**0.5, rel=1e-3)
    assert changes["noise", 1] == pytest.approx(changes["attack", 1], rel=0.1)
    assert changes["noise", 1] < changes["noise", 2] < changes["noise", 3]


def image(*size: int) -> Tensor:
    return torch.rand(2, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", robustness.DISTURBANCES)
def test_disturbances_depend_on_the_seed_and_keep_their_input(name):
    x = image(9, 12, 7)
    copy = x.clone()
    first, second, other = (robustness.DISTURBANCES[name](x, 0.5, seed) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert torch.equal(first, other) == (name == "blur")
    assert torch.equal(x, copy)
    assert first.shape == x.shape
    assert not torch.equal(first, x)


def test_bias_field_is_of_the_mr_alone_and_smooth():
    x = torch.ones(2, 12, 12, 12)
    out = robustness.bias_field(x, 0.3, 0)
    assert torch.equal(out[0], x[0])
    assert 0 < float(out[1].diff(dim=0).abs().max()) < 0.5 * float(out[1].max() - out[1].min())


def test_blur_keeps_the_sum_and_spreads_a_point_of_both_images():
    x = torch.zeros(2, 21, 21, 21)
    x[:, 10, 10, 10] = 1
    out = robustness.blur(x, 1.0, 0)
    assert out.sum((1, 2, 3)).tolist() == pytest.approx([1, 1], abs=1e-3)
    # The Gaussian is integrated over each voxel.
    share = (math.erf(2.5 / 2**0.5) - math.erf(1.5 / 2**0.5)) / (2 * math.erf(0.5 / 2**0.5))
    assert float(out[0, 12, 10, 10] / out[0, 10, 10, 10]) == pytest.approx(share, rel=1e-3)


def test_motion_of_all_lines_moves_the_image_and_of_none_keeps_it():
    x = image(5, 8, 6)
    torch.testing.assert_close(robustness.motion(x, 1.0, 0), x.roll(3, 2))
    torch.testing.assert_close(robustness.motion(x, 0.0, 0), x)


def linear(*weights):
    """A network of logits 0 and w . x, of which the steepest direction is known."""
    network = nn.Conv3d(2, 2, 1, bias=False)
    network.weight.data = torch.tensor([(0.0, 0.0), weights]).view(2, 2, 1, 1, 1)
    return network


@pytest.mark.parametrize("steps", [1, 4])
def test_attack_goes_straight_if_one_direction_is_worst(steps):
    x, label = torch.zeros(1, 2, 1, 1, 1), torch.ones(1, 1, 1, 1, dtype=torch.uint8)
    out = robustness.attack(linear(3.0, 4.0), x, label, radius=0.5, steps=steps)
    assert out.flatten().tolist() == pytest.approx([-0.3, -0.4], rel=1e-5)


def test_attack_stays_in_its_ball_and_raises_the_loss():
    x, label = image(4, 4, 4)[None], torch.ones(1, 4, 4, 4, dtype=torch.int64)
    network = linear(0.5, -1.0)
    out = robustness.attack(network, x, label, radius=0.2, steps=5)
    loss = nn.functional.cross_entropy
    assert float((out - x).norm()) <= 0.2 * (1 + 1e-5)
    assert loss(network(out), label) > loss(network(x), label)
    assert network.weight.grad is None


def test_attack_on_a_network_that_ignores_its_input_changes_nothing():
    x = image(2, 2, 2)[None]
    out = robustness.attack(linear(0.0, 0.0), x, torch.zeros(1, 2, 2, 2), radius=1.0, steps=2)
    assert torch.equal(out, x)
