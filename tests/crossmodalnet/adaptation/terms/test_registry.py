"""What each term is, from its row alone: places, reversal, figures, interval."""

from dataclasses import replace

import pytest

from crossmodalnet.adaptation.common.settings import AdaptationSettings
from crossmodalnet.adaptation.terms.registry import TERMS
from tests.crossmodalnet.adaptation.test_adapter import SETTINGS, network

PLACES = {
    "marginal": ("bottleneck", "decoder"),
    "conditional": ("decoder",),
    "output": ("output",),
    "self_training": ("output",),
    "topology": ("decoder",),
    "volumes": ("output",),
    "betti": ("output",),
}


def test_every_term_branches_off_where_it_says():
    assert {name: term.places for name, term in TERMS.items()} == PLACES


def test_adversaries_are_reversed_and_no_others():
    assert {name for name, term in TERMS.items() if term.is_reversed} == {"marginal", "conditional", "output"}


def test_the_figures_of_the_discriminators():
    measures = [measure for term in TERMS.values() for measure in term.measures]
    assert measures == ["marginal_accuracy", "conditional_accuracy"]


@pytest.mark.parametrize("name", TERMS)
def test_a_term_lies_in_the_module_of_its_name(name):
    assert TERMS[name].__module__ == f"crossmodalnet.adaptation.terms.{name}"


def test_trees_and_betti_numbers_are_rare():
    settings = replace(SETTINGS, topology_every=5, betti_every=7)
    every = {name: term(network(), settings, 8).every for name, term in TERMS.items()}
    assert every == {**dict.fromkeys(TERMS, 1), "topology": 5, "betti": 7}


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
