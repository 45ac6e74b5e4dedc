"""Summary: a card per method, and where the reference network stands."""

import math
from collections.abc import Sequence
from typing import Any

from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.metrics.scores import METRICS, Metric
from pipeline.comparison.titles import title_of
from pipeline.config.variants import ATLAS
from pipeline.evaluation.score_cases import MEAN
from pipeline.report.artefacts import Artefacts
from pipeline.report.charts import colour_of
from pipeline.report.sections.claims import claims_sentence
from pipeline.report.tables import DASH, MEAN_TITLES, enumerate_words, metric_of, score_cells, signed

# With more methods than these, only the reference and the best other network have a card.
MOST_CARDS = 3


def section(artefacts: Artefacts) -> dict[str, Any]:
    """Make cards and sentences."""
    reference, *others = artefacts.models
    few = len(artefacts.methods) <= MOST_CARDS
    shown = artefacts.methods if few else [reference, *ranked(artefacts, others, METRICS[0])[:1]]
    cards = [_card(artefacts, name) for name in shown]
    if not few:
        cards[-1]["gain"] = f"best of the {len(others)} others in Dice; {cards[-1]['gain']}"
    compared = [] if artefacts.single else artefacts.models if few else [reference]
    sentences = [_against_atlas(artefacts, name) for name in compared]
    if others:
        sentences.append(standing(artefacts))
    return {"cards": cards, "sentences": sentences, "claims": claims_sentence(artefacts)}


def standing(artefacts: Artefacts) -> str:
    """Say in a sentence in what the first model of params.yaml is first."""
    behind = not_first(artefacts)
    ahead = [title for title in MEAN_TITLES.values() if title not in behind]
    parts = [f"first in {enumerate_words(ahead)}"] if ahead else []
    parts += [f"not first in {enumerate_words(behind)}"] if behind else []
    first = title_of(artefacts.models[0])
    return f"Among {len(artefacts.models)} networks, {first} is {' and '.join(parts)}."


def not_first(artefacts: Artefacts) -> list[str]:
    """List the measures in which the first model of params.yaml is not first."""
    orders = {title: ranked(artefacts, artefacts.models, metric_of(k)) for k, title in MEAN_TITLES.items()}
    return [title for title, order in orders.items() if order and order[0] != artefacts.models[0]]


def ranked(artefacts: Artefacts, names: Sequence[str], metric: Metric) -> list[str]:
    """Order methods by their mean, best first; those without one are left out."""
    sign = -1 if metric.higher_is_better else 1
    means = {name: sign * artefacts.score(name, metric.key)[0] for name in names}
    return sorted((name for name in names if math.isfinite(means[name])), key=means.__getitem__)


def _card(artefacts: Artefacts, name: str) -> dict[str, Any]:
    titles = {"dice": "Mean Dice", "iou": "MIoU", "hd95_mm": "Mean HD95"}
    cells = zip(METRICS, score_cells(artefacts, MEAN)[name], strict=True)
    gain = DASH
    if name != ATLAS and not artefacts.single:
        gain = signed(artefacts.score(name, "dice")[0] - artefacts.score(ATLAS, "dice")[0], 3)
    return {
        "title": title_of(name),
        "colour": colour_of(artefacts.models, name),
        "figures": [(titles[m.key], m.unit, cell) for m, cell in cells if m.key in titles],
        "gain": "" if gain == DASH else f"{gain} Dice against the atlas",
    }


def _against_atlas(artefacts: Artefacts, name: str) -> str:
    """Compare a model with registration alone, case by case, in one sentence."""
    dice = artefacts.case_means("dice")
    better = f"{(dice[name] > dice[ATLAS]).sum()} of {len(dice)} test cases"
    sentence = f"{title_of(name)} has a higher mean Dice than the atlas baseline in {better}"
    distances = {s: artefacts.score(name, "hd95_mm", s)[0] for s in ABBREVIATIONS}
    defined = [s for s, distance in distances.items() if math.isfinite(distance)]
    if defined:
        worst = max(defined, key=distances.__getitem__)
        sentence += f"; its largest mean HD95 is that of {worst}, {distances[worst]:.1f} mm"
    return f"{sentence}."
