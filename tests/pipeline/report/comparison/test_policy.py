from dataclasses import replace
from typing import Any

import pytest

from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Training
from pipeline.report.comparison.policy import departures, policy


def changed(artefacts: Artefacts, name: str, section: str, **values: Any) -> Artefacts:
    """The same, with other values on the cards of one model."""

    def change(training: Training) -> Training:
        cards = {
            seed: {**card, section: {**card[section], **values}} for seed, card in training.cards.items()
        }
        return replace(training, cards=cards) if training.name == name else training

    return replace(artefacts, trainings=[change(training) for training in artefacts.trainings])


def test_policy_is_told_from_the_cards(artefacts: Artefacts) -> None:
    told = dict(policy(artefacts))
    assert told["Data"].startswith("2 pairs to train on, 1 to validate, 5 to test, cropped")
    assert told["Patches"] == "48 × 48 × 48 voxels, 2 in a batch; the same augmentation."
    assert told["Budget"].startswith("Equal steps: 30 epochs")
    assert told["Objectives"].startswith("Dice loss and cross-entropy, weighted")
    assert told["Deep supervision"].startswith("MedNeXt learns from coarser outputs too")
    assert told["Seeds"].startswith("2 runs per network, seeds 0, 3;")


@pytest.mark.parametrize(
    ("section", "values", "topic", "text"),
    [
        ("train", {"budget": "seconds", "seconds": 90.0}, "Budget", "Equal wall time: 90 s"),
        ("losses", {"deep_supervision": False}, "Deep supervision", "None for any network."),
        (
            "losses",
            {"objectives": ["ce"], "cmif": 0.1},
            "Objectives",
            "Cross-entropy; networks of two streams also a penalty on falling information flow.",
        ),
        ("augment", {"enabled": False}, "Patches", "48 × 48 × 48 voxels, 2 in a batch; no augmentation."),
    ],
)
def test_policy_follows_the_parameters(
    artefacts: Artefacts, section: str, values: dict[str, Any], topic: str, text: str
) -> None:
    told = dict(policy(changed(artefacts, "crossmodalnet", section, **values)))
    assert told[topic].startswith(text)


def test_learning_rates_may_differ_and_nothing_else(artefacts: Artefacts) -> None:
    assert departures(changed(artefacts, "mednext", "train", lr=0.5).trainings) == []
    assert departures(changed(artefacts, "mednext", "train", offset_lr_factor=1.0).trainings) == []
    found = departures(changed(artefacts, "mednext", "train", epochs=99, lr=0.5).trainings)
    assert found == ["train.epochs (30: CrossModalNet; 99: MedNeXt)"]
