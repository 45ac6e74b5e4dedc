import pytest
import torch

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.theory.capture import capture_inputs, own_generator, readable, relative_deviation


@pytest.mark.parametrize("options", [{}, {"transitions": "conv"}, {"stem": "linear"}], ids=str)
def test_every_attention_is_caught_once_with_a_readable_name(make_subject, options):
    subject = make_subject(**options)
    found = capture_inputs(subject.network, subject.images(subject.test[:1]), CrossAttention)
    assert list(found)[:2] == ["encoder 1.1 CT cross attention", "encoder 1.1 MR cross attention"]
    assert len(found) == 6
    module, (f_a, f_b, _) = found["encoder 2.1 MR cross attention"]
    assert isinstance(module, CrossAttention)
    assert f_a.shape == f_b.shape == (1, 64, 12)
    assert not module._forward_pre_hooks


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("encoder.0.1.swin.1.0", "encoder 1.2 MR swin 1"),
        ("decoder.1.0.cross.0.attention", "decoder 2.1 CT cross attention"),
        ("head.classify", "head.classify"),
    ],
)
def test_names_in_words(name, words):
    assert readable(name) == words


def test_deviation_is_relative():
    assert relative_deviation(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 4.0])) == pytest.approx(0.2)


def test_own_draws_leave_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    with own_generator(7):
        mine = torch.rand(1)
    assert torch.equal(torch.rand(1), expected)
    with own_generator(7):
        assert torch.equal(torch.rand(1), mine)
