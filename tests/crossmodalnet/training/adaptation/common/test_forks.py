"""Forks alone: who sees what, and with which sign and strength its gradient comes back."""

import pytest
import torch

from crossmodalnet.training.adaptation.adapter import Forks


class _Term:
    def __init__(self, *places, is_reversed=False):
        self.places, self.is_reversed = places, is_reversed


TERMS = {"a": _Term("decoder"), "b": _Term("decoder", "output", is_reversed=True), "c": _Term("bottleneck")}
STRENGTHS = {"a": 0.5, "b": 0.25, "c": 1.0}


def _forks():
    return Forks(TERMS, STRENGTHS, ramp=0.5, num_source=1, cap=1e6)


def test_each_term_sees_its_places_channels_first():
    forks, tokens = _forks(), torch.rand(2, 3, 4, 5, 6)
    (on,) = forks.fork("decoder", (tokens,))
    assert torch.equal(on, tokens)
    assert [list(forks.views[name]) for name in "abc"] == [["decoder"], ["decoder"], []]
    for seen in (forks.views["a"]["decoder"][0], forks.main["decoder"][0]):
        assert torch.equal(seen, tokens.movedim(-1, 1))


def test_logits_are_channels_first_already():
    forks, logits = _forks(), torch.rand(2, 8, 3, 4, 5)
    forks.fork("output", (logits,))
    assert torch.equal(forks.views["b"]["output"][0], logits)


@pytest.mark.parametrize(("name", "factor"), [("a", 0.25), ("b", -0.125)])
def test_gradients_come_back_by_ramp_strength_and_sign(name, factor):
    forks, tokens = _forks(), torch.rand(2, 1, 1, 1, 4, requires_grad=True)
    (on,) = forks.fork("decoder", (tokens,))
    (on.sum() + 3.0 * forks.views[name]["decoder"][0].sum()).backward()
    torch.testing.assert_close(tokens.grad, torch.full_like(tokens, 1 + 3.0 * factor))
