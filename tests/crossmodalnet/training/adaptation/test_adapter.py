"""JADA on a small CrossModalNet: what it computes, whom its gradients reach, and that tapping changes nothing."""

import math
from dataclasses import replace

import pytest
import torch

from crossmodalnet.networks.common.build import build_network
from crossmodalnet.training.adaptation.adapter import MEASURES, TERMS, AdaptationNetwork
from crossmodalnet.training.adaptation.conditional import ConditionalMap
from crossmodalnet.training.adaptation.config import AdaptationSettings
from crossmodalnet.training.adaptation.term import decoder_features
from pipeline.config.network import CrossModalNetSection

STRENGTHS = {**dict.fromkeys(TERMS, 1.0), "marginal": 0.5, "conditional": 0.1}
SETTINGS = AdaptationSettings(
    confidence=0.1, voxels_per_class=8, tree_voxels_per_class=4, topology_every=2, betti_every=3, width=4
)
SIZE = (16, 16, 16)


def network(deep_supervision=False, **changes):
    torch.manual_seed(0)
    small = {
        "channels": 6,
        "depths": (1, 1, 1),
        "heads": (1, 2, 2),
        "cross_window": ((4, 4, 4), (4, 4, 4), None),
        "num_points": (1, 1, 1),
        "patch_embedding": (2, 2, 2),
        "window": (4, 4, 4),
        "stem_channels": (2,),
    }
    options = CrossModalNetSection(**small, **changes).options() | {"deep_supervision": deep_supervision}
    return build_network("crossmodalnet", options, patch_size=SIZE)


def adapter(settings=SETTINGS, strengths=STRENGTHS, **changes):
    module = AdaptationNetwork(network(**changes), strengths, settings, 8).train()
    if "topology" in module.terms:  # a network that has not moved has the teacher's spanning trees
        torch.manual_seed(7)
        with torch.no_grad():
            for slow in module.terms["topology"].teacher.parameters():
                slow += 0.1 * torch.randn_like(slow)
    return module


def samples(seed=1, count=2):
    random = torch.Generator().manual_seed(seed)
    image = torch.rand(count, 2, *SIZE, generator=random)
    return image, torch.randint(0, 8, (count, *SIZE), generator=random)


def run(module, ramp=1.0, number=0, target=None):
    source, label = samples()
    target = samples(2, 1)[0] if target is None else target
    torch.manual_seed(5)
    return module(source, target, label, ramp=ramp, number=number)


def test_logits_are_those_of_the_network_alone():
    module = adapter()
    logits, terms, measures = run(module)
    torch.testing.assert_close(logits, module.network(samples()[0]))
    assert terms.shape == (len(TERMS),)
    assert measures.shape == (len(MEASURES),)
    assert torch.isfinite(terms).all()
    assert torch.isfinite(measures).all()
    assert not measures.requires_grad


@pytest.mark.parametrize("term", TERMS)
def test_a_term_of_no_strength_is_not_computed(term):
    module = adapter(strengths={**STRENGTHS, term: 0.0})
    assert list(module.terms) == [name for name in TERMS if name != term]
    assert run(module)[1].shape == (len(TERMS) - 1,)


@pytest.mark.parametrize("term", TERMS)
def test_each_term_alone_has_its_value_and_its_figures(term):
    module = adapter(strengths={term: 1.0})
    _, terms, measures = run(module)
    assert terms.shape == (1,)
    assert terms.item() > 0
    defined = {name for name, value in zip(MEASURES, measures.tolist(), strict=True) if not math.isnan(value)}
    assert defined == {*TERMS[term].measures, "prototype_distance"}


def test_rare_terms_are_left_out_of_the_steps_between():
    module = adapter(strengths={"output": 1.0, "topology": 1.0, "betti": 1.0})
    absent = [module.absent(number) for number in range(4)]
    assert absent == [set(), {"topology", "betti"}, {"betti"}, {"topology"}]
    for number in range(4):
        values = dict(zip(module.terms, run(module, number=number)[1].tolist(), strict=True))
        assert {name for name, value in values.items() if value == 0} == absent[number]


def test_a_term_that_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match=r"strengths must be of .*marginal, .*, got margin"):
        adapter(strengths={"margin": 1.0})


def test_nothing_on_leaves_the_network_and_no_discriminator():
    module = adapter(strengths={})
    assert module.discriminator_parameters() == []
    assert run(module)[1].shape == (0,)


def _gradients(module, ramp, terms_only=True):
    module.zero_grad()
    logits, terms, _ = run(module, ramp)
    # The cap is of the supervised gradient, so there must be one: norms over space would leave none of a plain sum.
    (terms.sum() + (0.0 if terms_only else 1.0) * logits.square().sum()).backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def test_before_the_ramp_discriminators_learn_and_the_network_learns_from_labels_alone():
    module = adapter()
    with_terms = _gradients(module, 0.0, terms_only=False)
    module.zero_grad()
    run(module, 0.0)[0].square().sum().backward()
    for name, parameter in module.network.named_parameters():
        torch.testing.assert_close(with_terms[f"network.{name}"], parameter.grad)
    own = [name for name in with_terms if name.startswith("parts.")]
    assert own
    assert all(with_terms[name].abs().sum() > 0 for name in own if name.endswith("original"))


@pytest.mark.parametrize("term", ["marginal", "conditional", "output"])
def test_the_network_climbs_what_the_discriminator_descends(term):
    """A small step along the network's gradient of an adversarial term raises that term."""
    module = adapter(replace(SETTINGS, cap=1e6), {term: 1.0})
    module.eval()  # spectral norms stand still
    logits, terms, _ = run(module)
    # Sending some gradient the main way sets the cap; 1e-6 of it does not turn the direction.
    (terms.sum() + 1e-6 * logits.square().mean()).backward()
    before = terms.item()
    with torch.no_grad():
        for parameter in module.network.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad / parameter.grad.norm().clamp_min(1e-12)
    assert run(module)[1].item() > before


def test_the_cap_bounds_what_the_terms_add():
    """With a tiny cap the gradient of the network is that of the supervised objective."""
    module = adapter(replace(SETTINGS, cap=1e-6))
    capped = _gradients(module, 1.0, terms_only=False)
    module.zero_grad()
    run(module)[0].square().sum().backward()
    largest = {name: float(p.grad.abs().max()) for name, p in module.network.named_parameters()}
    # What cancels to little (a map of one channel before its norm) is as exact as what it cancels from.
    rounding = 1e-6 * max(largest.values())
    for name, parameter in module.network.named_parameters():
        torch.testing.assert_close(
            capped[f"network.{name}"],
            parameter.grad,
            rtol=1e-3,
            atol=max(1e-4 * largest[name], rounding),
        )


def test_a_copy_of_the_source_as_target_cannot_be_told_apart():
    module = adapter(strengths={"marginal": 0.5, "conditional": 0.1})
    module.eval()
    measures = dict(zip(MEASURES, run(module, target=samples()[0])[2].tolist(), strict=True))
    assert measures["marginal_accuracy"] == pytest.approx(0.5)


def test_features_of_the_decoder_are_those_of_the_network():
    module = adapter()
    image = samples()[0]
    found = decoder_features(module.network, image, 1)
    pair = module.network.features(image)[-2]  # embedded, three encoder layers, two decoder layers
    torch.testing.assert_close(found, torch.cat(pair, 1))
    assert not found.requires_grad


def test_one_stream_is_enough_and_a_level_that_is_not_there_is_an_error():
    assert torch.isfinite(run(adapter(streams="ct"))[1]).all()
    with pytest.raises(ValueError, match=r"decoder_level must be from 0 to 1, .* got 2"):
        adapter(replace(SETTINGS, decoder_level=2))
    assert torch.isfinite(run(adapter(replace(SETTINGS, decoder_level=1)))[1]).all()


def test_checkpointing_gives_the_same():
    plain, saving = run(adapter()), run(adapter(checkpointing=True))
    torch.testing.assert_close(plain[1], saving[1])


LITERAL = {"stem": "linear", "joins": "linear"}
KINDS = pytest.mark.parametrize("options", [{}, LITERAL, {"joins": "linear"}, {"stem": "linear"}], ids=str)


@KINDS
@pytest.mark.parametrize("level", [0, 1])
def test_discriminators_fit_every_way_between_the_levels(options, level):
    module = adapter(replace(SETTINGS, decoder_level=level), **options)
    assert torch.isfinite(run(module)[1]).all()
    assert (
        module.terms["conditional"].map.out_dim
        == ConditionalMap(2 * 6 * 2**level, 8, SETTINGS.map_dim).out_dim
    )


@KINDS
def test_coarser_logits_of_the_source_come_with_the_finest(options):
    module = adapter(deep_supervision=True, **options)
    found, terms, _ = run(module)
    alone = module.network(samples()[0])
    assert len(found) == len(alone) > 3
    for level, expected in zip(found, alone, strict=True):
        torch.testing.assert_close(level, expected)
    assert torch.isfinite(terms).all()
    source_only, *_ = module(samples()[0])
    assert [tuple(level.shape) for level in source_only] == [tuple(level.shape) for level in found]


def test_deep_supervision_changes_no_term():
    deep, plain = adapter(deep_supervision=True), adapter()
    plain.load_state_dict(deep.state_dict(), strict=False)
    torch.testing.assert_close(run(deep)[1], run(plain)[1])


def test_coarser_logits_are_for_the_labels_alone():
    """The target has no say in them, and the terms none in the heads that make them."""
    module = adapter(deep_supervision=True)
    target = samples(2, 1)[0].requires_grad_()
    found, terms, _ = run(module, target=target)
    (grad,) = torch.autograd.grad(
        sum(level.sum() for level in found), target, retain_graph=True, allow_unused=True
    )
    assert grad is None or not grad.any()
    (terms.sum() + found[0].sum()).backward(retain_graph=True)
    heads = list(module.network.auxiliary.parameters())
    assert all(p.grad is None or not p.grad.any() for p in heads)
    found[1].sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in heads)
