import pytest
import torch

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.theory import subject
from tests.crossmodalnet.theory.subjects import make_subject


@pytest.mark.parametrize("options", [{}, {"transitions": "conv"}, {"stem": "linear"}], ids=str)
def test_every_attention_is_captured_with_a_readable_name(options):
    made = make_subject(**options)
    captured = subject.capture_inputs(made.network, made.images(made.test[:1]), CrossAttention)
    assert list(captured)[:2] == ["encoder 1.1 CT cross attention", "encoder 1.1 MR cross attention"]
    assert len(captured) == 6
    module, (f_a, f_b, _) = captured["encoder 2.1 MR cross attention"]
    assert isinstance(module, CrossAttention)
    assert f_a.shape == f_b.shape == (1, 64, 12)
    assert not module._forward_pre_hooks


def test_deviation_is_relative():
    deviation = subject.relative_deviation(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 4.0]))
    assert deviation == pytest.approx(0.2)


def test_isolated_draws_leave_the_global_generator_alone():
    state, draws = torch.get_rng_state(), []
    for _ in range(2):
        with subject.isolated_seed(7):
            draws.append(torch.rand(1))
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), state)


def test_dice_averages_the_structures_of_the_truth():
    truth = torch.tensor([0, 1, 1, 2])
    assert subject.mean_dice(torch.tensor([3, 1, 1, 0]), truth) == pytest.approx((1 + 0) / 2)
    assert subject.mean_dice(torch.tensor([0, 1]), torch.tensor([0, 0])) == 1
