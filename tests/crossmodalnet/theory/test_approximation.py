import pytest
import torch

from crossmodalnet.theory import approximation
from crossmodalnet.theory.findings import Verdict
from tests.crossmodalnet.theory.subjects import QUICK, make_subject

CPU = torch.device("cpu")
CONVOLUTIONAL = {"transitions": "conv", "deep_supervision": True}


def scale_stems(network, factor):
    """Multiply what the stems' first maps are before they are normalised."""
    for stem in network.stems:
        stem.blocks[0].conv1.weight.data *= factor
        stem.blocks[0].project.weight.data *= factor


@pytest.mark.parametrize("transitions", ["linear", "conv"])
def test_instance_normalisation_hides_the_brightness(transitions):
    subject = make_subject(stem="conv", transitions=transitions)
    scale_stems(subject.network, 100)  # far above the norm's epsilon
    outcome = approximation.check(subject, QUICK)
    assert outcome.findings[0].verdict is Verdict.FAILS
    assert {row["function"] for row in outcome.tables["approximation"]} == set(approximation.FUNCTIONS)


def test_features_as_small_as_the_epsilon_show_the_brightness():
    subject = make_subject(stem="conv")
    scale_stems(subject.network, 0.01)
    assert approximation.darken(subject)[0] > 0.05


def test_the_papers_stem_sees_the_brightness():
    subject = make_subject(stem="linear")
    for embedding in subject.network.embeddings:
        # As training does; without it, layer norm hides the scale too.
        torch.nn.init.normal_(embedding.proj.bias, std=0.2)
    assert approximation.darken(subject)[0] > 0.05


def test_verdicts_follow_from_the_change_of_output():
    numbers = dict.fromkeys(("error_narrow", "error_wide", "error_deep", "overfitted_dice"), 0.5)
    changes = ({"output_change_when_darker": change} for change in (1e-3, 0.3))
    hidden, shown = (approximation.judge(change | numbers, 0.4) for change in changes)
    assert (hidden.verdict, shown.verdict) == (Verdict.FAILS, Verdict.UNDECIDED)
    assert "0.100" in hidden.counterexample


def test_random_images_are_standardised_and_targets_too():
    images = approximation.random_images(4, torch.Generator().manual_seed(0))
    assert images.shape == (4, 2, *approximation.SIZE)
    torch.testing.assert_close(images.mean((2, 3, 4)), torch.zeros(4, 2), atol=1e-5, rtol=0)
    values = approximation.targets(images)
    torch.testing.assert_close(values.std((0, 2, 3, 4)), torch.ones(len(approximation.FUNCTIONS)))
    product = images[:, 0] * images[:, 1]
    torch.testing.assert_close(values[:, 0], (product - product.mean()) / product.std())


@pytest.mark.parametrize(
    "options", [{}, pytest.param({"stem": "linear"}, marks=pytest.mark.stress), CONVOLUTIONAL], ids=str
)
def test_training_brings_the_errors_down(options):
    config = approximation.small_config(make_subject(**options).config, 6, 1)
    before, after = (approximation.errors_after_training(config, steps, 0, CPU) for steps in (1, 60))
    assert before == approximation.errors_after_training(config, 1, 0, CPU)
    assert after["maximum"] < 0.9 * before["maximum"]


@pytest.mark.parametrize("options", [{}, CONVOLUTIONAL], ids=str)
def test_one_case_is_overfitted(options):
    subject = make_subject(channels=24, head_channels=16, stem_channels=(8,), **options)
    quick = QUICK.model_copy(update={"overfit_steps": 200})
    curve = approximation.overfit(subject.config, subject.training[0], quick, CPU)
    assert curve[0][1] < 0.5
    assert curve[-1][1] > 0.99
