"""What the terms are: places, reversal, figures, interval, parts."""

from dataclasses import replace
from typing import get_args

import pytest

from crossmodalnet.training.adaptation.adapter import TERMS
from crossmodalnet.training.adaptation.config import AdaptationSettings
from crossmodalnet.training.adaptation.term import Place
from tests.crossmodalnet.training.adaptation.test_adapter import SETTINGS, network

# Where each branches off; a new term need not be listed.
PLACES = {
    "marginal": ("bottleneck", "decoder"),
    "conditional": ("decoder",),
    "output": ("output",),
    "self_training": ("output",),
    "topology": ("decoder",),
    "volumes": ("output",),
    "betti": ("output",),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_term_branches_off_where_its_features_are(name):
    assert TERMS[name].places == PLACES[name]


def test_every_term_branches_off_somewhere():
    assert all(set(term.places) <= set(get_args(Place)) and term.places for term in TERMS.values())


def test_adversaries_are_reversed_and_no_others():
    assert {name for name in PLACES if TERMS[name].is_reversed} == {"marginal", "conditional", "output"}


def test_the_figures_of_the_discriminators():
    measures = [measure for name in PLACES for measure in TERMS[name].measures]
    assert measures == ["marginal_accuracy", "conditional_accuracy"]


def test_trees_and_betti_numbers_are_rare():
    settings = replace(SETTINGS, topology_every=5, betti_every=7)
    every = {name: TERMS[name](network(), settings, 8).every for name in PLACES}
    assert every == {**dict.fromkeys(PLACES, 1), "topology": 5, "betti": 7}


@pytest.mark.parametrize(
    ("name", "numbers"), [("marginal", 4), ("conditional", 1), ("output", 1), ("self_training", 0)]
)
def test_terms_have_the_discriminators_that_they_need(name, numbers):
    """Of two streams, at two places."""
    term = TERMS[name](network(), AdaptationSettings(width=4), 8)
    found = [module for module in term.modules() if type(module).__name__.endswith("Discriminator")]
    assert len(found) == numbers


def test_the_teacher_follows_slowly_and_learns_nothing_itself():
    net = network()
    term = TERMS["topology"](net, replace(SETTINGS, teacher_decay=0.75), 8)
    before = [slow.clone() for slow in term.teacher.parameters()]
    for weight in net.parameters():
        weight.data += 1.0
    term.after_step(net)
    for slow, start in zip(term.teacher.parameters(), before, strict=True):
        assert slow.detach().numpy() == pytest.approx((start + 0.25).numpy(), abs=1e-6)
        assert not slow.requires_grad
