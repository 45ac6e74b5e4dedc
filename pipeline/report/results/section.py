"""What sections Summary and Per structure show: a card per method, sentences, the big table."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossmodalnet.imaging.structures import ABBREVIATIONS, STRUCTURES
from crossmodalnet.metrics.scores import METRICS
from pipeline.config.variants import ATLAS
from pipeline.evaluation.score_cases import MEAN
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import Result
from pipeline.report.charts.drawing import colour_of
from pipeline.report.charts.standing import ranked, summary
from pipeline.report.charts.tables import Cell, metric_cells

# More methods than these have no card each, or nobody sees the first.
MOST_CARDS = 3

ResultGroup = tuple[str, str, str, Sequence[tuple[str, Sequence[Cell]]]]


@dataclass(frozen=True)
class Summary:
    """The card of one method: Dice, MIoU and HD95, and what it gains over the atlas."""

    title: str
    name: str
    colour: str
    figures: list[tuple[str, str, Cell]]
    gain: str


def summaries(artefacts: Artefacts) -> list[Summary]:
    """Make the cards: of all methods if they are few, else of the reference and the best other network."""
    shown: Sequence[Result] = artefacts.results
    if len(shown) > MOST_CARDS:
        others = [model for model in artefacts.models if model is not artefacts.reference]
        shown = [artefacts.reference, *ranked(others, METRICS[0])[:1]]
    return [_summary(artefacts, result) for result in shown]


def verdicts(artefacts: Artefacts) -> list[str]:
    """Say how the networks compare with registration alone and, if there are several, with each other."""
    models = artefacts.models if len(artefacts.results) <= MOST_CARDS else [artefacts.reference]
    atlas = artefacts.atlas
    against = [_verdict(artefacts, model, atlas) for model in models] if atlas else []
    return [*against, *summary(artefacts)]


def result_groups(artefacts: Artefacts) -> list[ResultGroup]:
    """Group the big table by structure, mean first: abbreviation, full name, colour, a row per method."""
    heads = [(MEAN, "mean of all structures", ""), *((s.abbreviation, s.name, s.colour) for s in STRUCTURES)]
    groups: list[ResultGroup] = []
    for name, full, colour in heads:
        cells = metric_cells(artefacts.results, name)
        rows = [(result.title, cells[result.name]) for result in artefacts.results]
        groups.append((name, full, colour, rows))
    return groups


def _summary(artefacts: Artefacts, result: Result) -> Summary:
    cells = metric_cells(artefacts.results, MEAN)[result.name]
    titles = {"dice": "Mean Dice", "iou": "MIoU", "hd95_mm": "Mean HD95"}
    figures = [
        (titles[metric.key], metric.unit, cell)
        for metric, cell in zip(METRICS, cells, strict=True)
        if metric.key in titles
    ]
    gain = ""
    if result.name != ATLAS and (difference := _gain(artefacts, result)) is not None:
        gain = f"{difference:+.3f} Dice against the atlas".replace("-", "−")
    colour = colour_of(artefacts.results, result.name)
    if result is not artefacts.reference and len(artefacts.results) > MOST_CARDS:
        gain = f"best of the {len(artefacts.models) - 1} others in Dice; {gain}"
    return Summary(result.title, result.name, colour, figures, gain)


def _gain(artefacts: Artefacts, result: Result) -> float | None:
    if artefacts.atlas is None:
        return None
    means = [method.estimates.get(("dice", MEAN)) for method in (result, artefacts.atlas)]
    model, atlas = means
    return None if model is None or atlas is None else model.mean - atlas.mean


def _verdict(artefacts: Artefacts, result: Result, atlas: Result) -> str:
    """Say in one sentence how a model compares with registration alone, case by case."""
    ours, theirs = result.mean_dice, atlas.mean_dice
    pairs = sorted(artefacts.cases)
    better = sum(bool(ours[pair] > theirs[pair]) for pair in pairs)
    worst = max(ABBREVIATIONS, key=lambda name: _distance(result, name))
    estimate = result.estimates.get(("hd95_mm", worst))
    count = f"{better} of {len(pairs)} test cases"
    sentence = f"{result.title} has a higher mean Dice than the atlas baseline in {count}"
    if estimate:
        sentence += f"; its largest mean HD95 is that of {worst}, {estimate.mean:.1f} mm"
    return f"{sentence}."


def _distance(result: Result, structure: str) -> float:
    estimate = result.estimates.get(("hd95_mm", structure))
    return estimate.mean if estimate else -1.0
