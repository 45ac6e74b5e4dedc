"""JADA on a small CrossModalNet: what it computes, whom its gradients reach, and that tapping changes nothing."""

import math

import pytest
import torch

from crossmodalnet.networks.common.build import build_network
from crossmodalnet.training.adaptation.adapter import MEASURES, TERMS, AdaptationNetwork, ganin_ramp, prototype_distance
from crossmodalnet.training.adaptation.config import AdaptationConfig
from crossmodalnet.training.adaptation.term import decoder_features

ALL_ON = AdaptationConfig(confidence=0.1, volumes=1.0)
SIZE = (16, 16, 16)
SMALL = {
    "channels": 6, "depths": (1, 1, 1), "heads": (1, 2, 2), "cross_window": ((4, 4, 4), (4, 4, 4), None),
    "num_points": (1, 1, 1), "patch_embedding": (2, 2, 2), "window": (4, 4, 4), "stem_channels": (2,),
}  # fmt: skip


def network(**changes):
    torch.manual_seed(0)
    return build_network("crossmodalnet", SMALL | changes, patch_size=SIZE)


def adapter(config=ALL_ON, **changes):
    module = AdaptationNetwork(network(**changes), config, 8).train()
    if "topology" in module.terms:  # a network that has not moved has the teacher's spanning trees
        torch.manual_seed(7)
        with torch.no_grad():
            for slow in module.terms["topology"].teacher.parameters():
                slow += 0.1 * torch.randn_like(slow)
    return module


def only(**changes):
    """Options with these terms alone."""
    return AdaptationConfig(confidence=0.1, **{**dict.fromkeys(TERMS, 0.0), **changes})


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
    for values, names in ((terms, TERMS), (measures, MEASURES)):
        assert values.shape == (len(names),)
        assert values.isfinite().all()
    assert not measures.requires_grad


@pytest.mark.parametrize("term", TERMS)
def test_each_term_alone_has_its_value_and_its_figures(term):
    module = adapter(only(**{term: 1.0}))
    _, terms, measures = run(module)
    assert list(module.terms) == [term]
    assert terms.shape == (1,)
    assert terms.item() > 0
    defined = {name for name, value in zip(MEASURES, measures.tolist(), strict=True) if not math.isnan(value)}
    assert defined == {*TERMS[term].measures, "prototype_distance"}


def test_topology_is_computed_in_every_fourth_step():
    module = adapter(only(output=1.0, topology=1.0))
    assert [module.absent(number) for number in range(5)] == [set(), *[{"topology"}] * 3, set()]
    assert [run(module, number=number)[1][1].item() > 0 for number in (0, 1)] == [True, False]


def test_nothing_on_leaves_the_network_and_no_discriminator():
    module = adapter(only())
    assert module.discriminator_parameters() == []
    assert run(module)[1].shape == (0,)


def _gradients(module, ramp, *, with_terms):
    """Gradients of a supervised objective, which sets the cap, and of the terms."""
    module.zero_grad()
    logits, terms, _ = run(module, ramp)
    (logits.square().sum() + (terms.sum() if with_terms else 0.0)).backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def test_before_the_ramp_discriminators_learn_and_the_network_learns_from_labels_alone():
    module = adapter()
    with_terms, without = (_gradients(module, 0.0, with_terms=flag) for flag in (True, False))
    for name, grad in without.items():
        torch.testing.assert_close(with_terms[name], grad)
    own = [name for name in with_terms if name.startswith("parts.")]
    assert own
    assert all(with_terms[name].abs().sum() > 0 for name in own if name.endswith("original"))


@pytest.mark.parametrize("term", TERMS)
def test_a_step_of_the_network_raises_adversarial_terms_and_lowers_the_others(term):
    module = adapter(only(cap=1e6, **{term: 1.0})).eval()  # spectral norms stand still
    logits, terms, _ = run(module)
    # Sending some gradient the main way sets the cap; 1e-6 of it does not turn the direction.
    (terms.sum() + 1e-6 * logits.square().mean()).backward()
    before = terms.item()
    with torch.no_grad():
        for parameter in module.network.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad / parameter.grad.norm().clamp_min(1e-12)
    after = run(module)[1].item()
    assert after > before if term in {"marginal", "conditional", "output"} else after < before


def test_the_cap_bounds_what_the_terms_add():
    module = adapter(ALL_ON.model_copy(update={"cap": 1e-6}))
    capped, supervised = (_gradients(module, 1.0, with_terms=flag) for flag in (True, False))
    largest = {name: float(grad.abs().max()) for name, grad in supervised.items()}
    for name, grad in supervised.items():
        # What cancels to little (a map of one channel before its norm) is as exact as what it cancels from.
        atol = max(1e-4 * largest[name], 1e-6 * max(largest.values()))
        torch.testing.assert_close(capped[name], grad, rtol=1e-3, atol=atol)


def test_a_copy_of_the_source_as_target_cannot_be_told_apart():
    module = adapter(only(marginal=0.5, conditional=0.1)).eval()
    measures = dict(zip(MEASURES, run(module, target=samples()[0])[2].tolist(), strict=True))
    assert measures["marginal_accuracy"] == pytest.approx(0.5)


def test_decoder_features_are_those_of_the_network():
    net, image = network(), samples()[0]
    features = decoder_features(net, image)
    with torch.no_grad():  # with gradients, attention takes another kernel
        torch.testing.assert_close(features, torch.cat(net.features(image)[-1], 1), rtol=0, atol=0)
    assert not features.requires_grad


def test_one_stream_is_enough_and_one_level_is_not():
    assert torch.isfinite(run(adapter(streams="ct"))[1]).all()
    with pytest.raises(ValueError, match="must have a decoder level"):
        adapter(depths=(1,), heads=(1,), num_points=(1,), cross_window=None)


def test_checkpointing_gives_the_same():
    plain, saving = run(adapter()), run(adapter(checkpointing=True))
    torch.testing.assert_close(plain[1], saving[1])


LINEAR = [dict.fromkeys(names, "linear") for names in ((), ("stem",), ("transitions",), ("stem", "transitions"))]


@pytest.mark.parametrize("options", LINEAR, ids=str)
def test_coarser_logits_of_the_source_come_with_the_finest(options):
    module = adapter(deep_supervision=True, **options)
    found, terms, _ = run(module)
    alone = module.network(samples()[0])
    assert len(found) > 3
    torch.testing.assert_close(found, alone)
    assert torch.isfinite(terms).all()
    source_only, *_ = module(samples()[0])
    assert [tuple(level.shape) for level in source_only] == [tuple(level.shape) for level in found]


def test_deep_supervision_changes_no_term():
    deep, plain = adapter(deep_supervision=True), adapter()
    plain.load_state_dict(deep.state_dict(), strict=False)
    torch.testing.assert_close(run(deep)[1], run(plain)[1])


def test_coarser_logits_are_for_the_labels_alone():
    module = adapter(deep_supervision=True)
    target = samples(2, 1)[0].requires_grad_()
    found, terms, _ = run(module, target=target)
    coarse = sum(level.sum() for level in found)
    (grad,) = torch.autograd.grad(coarse, target, retain_graph=True, allow_unused=True)
    assert grad is None or not grad.any()
    (terms.sum() + found[0].sum()).backward(retain_graph=True)
    heads = list(module.network.auxiliary.parameters())
    assert all(p.grad is None or not p.grad.any() for p in heads)
    found[1].sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in heads)


def test_classes_that_a_domain_lacks_leave_terms_and_gradients_finite():
    module = adapter()
    background = torch.zeros(2, *SIZE, dtype=torch.long)
    _, terms, _ = module(samples()[0], samples(2, 1)[0], background, ramp=1.0)
    terms.sum().backward()
    assert terms.isfinite().all()
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)


def test_teacher_follows_slowly_and_has_no_gradient():
    net = network()
    term = TERMS["topology"](net, ALL_ON, 8)
    before = [slow.clone() for slow in term.teacher.parameters()]
    for weight in net.parameters():
        weight.data += 1.0
    term.after_step(net)
    slow = list(term.teacher.parameters())
    torch.testing.assert_close(slow, [start + 0.05 for start in before], atol=1e-6, rtol=0)
    assert not any(weight.requires_grad for weight in slow)


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 0.0), (0.1, math.tanh(0.5)), (1.0, math.tanh(5))])
def test_ramp_rises_from_zero_to_one(progress, expected):
    assert ganin_ramp(progress) == pytest.approx(expected, abs=1e-12)


SOURCE = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [6.0, 0.0], [0.0, 8.0]])
CLASSES = torch.tensor([0, 0, 1, 2])


def test_prototype_distance_by_hand():
    target = torch.tensor([[0.0, 2.0], [6.0, 6.0], [6.0, 6.0], [9.0, 9.0]])
    # Class 0 is 2 away, class 1 is 6 away, class 3 is not in the source: mean 4.
    classes = torch.tensor([0, 1, 1, 3])
    for source, other in ((SOURCE, target), (10 * SOURCE - 3, 10 * target - 3)):
        assert prototype_distance(source, CLASSES, other, classes, 5).item() == pytest.approx(4 / 8)


def test_prototype_distance_without_classes_to_compare_is_nan():
    target = torch.ones(2, 2)
    assert prototype_distance(SOURCE, CLASSES, target, torch.tensor([3, 4]), 5).isnan()
    assert prototype_distance(SOURCE[:2], CLASSES[:2], target, torch.tensor([0, 0]), 5).isnan()
    assert prototype_distance(SOURCE, CLASSES, target[:0], CLASSES[:0], 5).isnan()
    assert prototype_distance(SOURCE[:0], CLASSES[:0], target, torch.tensor([0, 1]), 5).isnan()
