"""What all networks had in common, in words, checked on their model cards."""

from collections.abc import Mapping, Sequence
from typing import Any

from crossmodalnet.networks.common.build import DEEPLY_SUPERVISED
from pipeline.comparison.titles import title_of
from pipeline.config.variants import OURS
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Training
from pipeline.report.charts.curves import OBJECTIVES
from pipeline.report.charts.tables import enumerate_words, flatten

# What a card must share with every other; learning rates are each network's own.
COMMON = (
    "train", "losses", "augment", "patch_size", "spacing_mm", "size", "ct_window_hu", "mr_percentiles",
    "data_fingerprint", "training_pairs", "validation_pairs",
)  # fmt: skip
OWN = ("train.lr", "train.offset_lr_factor")
BALANCING = {
    "paper": "weighted against each other by Eq. 23, the smaller loss more",
    "harder": "weighted against each other, the larger loss more",
    "uniform": "of equal weight",
}


def policy(artefacts: Artefacts) -> list[tuple[str, str]]:
    """Say what was the same for all networks, from the first card.

    Returns:
        Subject of the policy, and a sentence or two.
    """
    card: Mapping[str, Any] = artefacts.trainings[0].card
    train: Mapping[str, Any] = card["train"]
    return [
        ("Data", _data(artefacts, card)),
        (
            "Patches",
            f"{_by(card['patch_size'])} voxels, {train['batch_size']} in a batch; {_augmentation(card)}.",
        ),
        ("Budget", _budget(train)),
        ("Objectives", _objectives(card["losses"])),
        ("Deep supervision", _deep_supervision(artefacts.trainings, card["losses"])),
        ("Optimiser", f"Adam, {train['schedule']} learning rate; each network has its own rate, below."),
        (
            "Selection",
            "Each run keeps the weights of its best validation Dice; test pairs have no part in it.",
        ),
        ("Seeds", _seeds(artefacts.seeds)),
    ]


def departures(trainings: Sequence[Training]) -> list[str]:
    """List the settings that are not the same on all cards, with their values; there should be none."""
    cards = [
        (training.title, dict(flatten({key: card.get(key) for key in COMMON})))
        for training in trainings
        for card in training.cards.values()
    ]
    found = []
    for key in dict.fromkeys(key for _, card in cards for key in card):
        values: dict[str, list[str]] = {}
        for title, card in cards:
            values.setdefault(_short(card.get(key, "absent")), []).append(title)
        if key not in OWN and len(values) > 1:
            uses = "; ".join(f"{value}: {', '.join(dict.fromkeys(names))}" for value, names in values.items())
            found.append(f"{key} ({uses})")
    return found


def _data(artefacts: Artefacts, card: Mapping[str, Any]) -> str:
    counts = [len(card["training_pairs"]), len(card["validation_pairs"]), len(artefacts.cases)]
    grid = f"{_by(card['size'])} voxels of {_by(f'{size:g}' for size in card['spacing_mm'])} mm"
    streams = "CT and MR are two input channels of one encoder (early fusion)"
    if OURS in [training.name for training in artefacts.trainings]:
        streams += f"; only {title_of(OURS)} gives each a stream of its own"
    split = "{} pairs to train on, {} to validate, {} to test".format(*counts)
    return f"{split}, cropped to the heart on {grid}. {streams}."


def _augmentation(card: Mapping[str, Any]) -> str:
    return "the same augmentation" if card["augment"].get("enabled", True) else "no augmentation"


def _budget(train: Mapping[str, Any]) -> str:
    samples = f"{train['samples_per_case']} samples of every pair an epoch"
    if train.get("budget", "epochs") == "seconds":
        return f"Equal wall time: {train['seconds']:g} s of training on the same machine; {samples}."
    return f"Equal steps: {train['epochs']} epochs, {samples}."


def _objectives(losses: Mapping[str, Any]) -> str:
    names = [OBJECTIVES.get(name, name) for name in losses["objectives"]]
    balance = f", {BALANCING.get(losses['balancing'], losses['balancing'])}" if len(names) > 1 else ""
    flow = (
        "; networks of two streams also a penalty on falling information flow" if losses.get("cmif") else ""
    )
    text = f"{' and '.join(names)}{balance}{flow}."
    return text[0].upper() + text[1:]


def _deep_supervision(trainings: Sequence[Training], losses: Mapping[str, Any]) -> str:
    names = [training.title for training in trainings if training.name in DEEPLY_SUPERVISED - {OURS}]
    if not losses.get("deep_supervision"):
        return "None for any network."
    if not names:
        return "On, but no network here has coarser outputs to supervise."
    verb = "learn" if len(names) > 1 else "learns"
    published = ", as published" if OURS not in [training.name for training in trainings] else ""
    return f"{enumerate_words(names)} {verb} from coarser outputs too{published}; the others have none."


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"One run per network, seed {seeds[0]}: run-to-run noise is not in the intervals."
    listed = ", ".join(map(str, seeds))
    runs = f"{len(seeds)} runs per network, seeds {listed}; scores are averaged over them"
    return f"{runs}; the intervals of means cover them, those of differences do not."


def _by(sizes: Any) -> str:
    return " × ".join(str(size) for size in sizes)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
