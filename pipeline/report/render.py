"""From artefacts to one self-contained page: no script, no address outside the file, no date."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from crossmodalnet.labels import ABBREVIATIONS, STRUCTURES
from pipeline.outputs import whole_folder
from pipeline.params.report import ReportParams
from pipeline.report.figures import bar_chart, box_plot, colour_of, curve_chart
from pipeline.report.overlays import CaseOverlay, case_overlay, rank_cases, thumbnail
from pipeline.report.records import METRICS, Artefacts, Result, Training
from pipeline.report.tables import (
    Cell,
    case_table,
    flatten,
    frame_table,
    metric_cells,
    total_cut_voxels,
)
from pipeline.tables import MEAN

FOLDER = Path(__file__).parent

COMMANDS = (
    ("dvc exp run -S train.lr=1e-5", "try another value; only train, evaluate and report run again"),
    ("dvc metrics diff", "compare the numbers with those of the last commit"),
    ("dvc plots diff", "compare curves and bars, old over new, in one page"),
    ("dvc exp show --only-changed", "list all experiments with their parameters and metrics"),
    (
        "dvc exp run -S split.seed=1",
        "test on other subjects: how much of a difference is the choice of cases?",
    ),
    ("crossmodalnet params use mmwhs", "switch to the settings for real data on one GPU"),
    ("crossmodalnet params explain train", "read what every key means and which values it takes"),
)


@dataclass(frozen=True)
class Summary:
    """The card of one method: Dice, MIoU and HD95, and what it gains over the atlas."""

    title: str
    name: str
    colour: str
    figures: list[tuple[str, str, Cell]]
    gain: str


def write_page(folder: Path, artefacts: Artefacts, params: ReportParams) -> Path:
    """Write `index.html` into a folder of its own, whole or not at all; returns the file."""
    page = render(artefacts, params)
    with whole_folder(folder) as new:
        (new / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


def render(artefacts: Artefacts, params: ReportParams) -> str:
    """Make the page's HTML; every text that comes from data is escaped."""
    environment = Environment(
        loader=PackageLoader("pipeline.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("template.html.jinja")
    style = Markup((FOLDER / "style.css").read_text())
    return template.render(style=style, **_context(artefacts, params))


def _context(artefacts: Artefacts, params: ReportParams) -> dict[str, Any]:
    results = artefacts.results
    overlays = _overlays(artefacts, params)
    return {
        "artefacts": artefacts,
        "num_cases": len(artefacts.cases),
        "smallest_p": f"{2.0 ** (1 - len(artefacts.cases)):.3g}",
        "structures": STRUCTURES,
        "metrics": METRICS,
        "summaries": [_summary(artefacts, result) for result in results],
        "verdicts": [_verdict(artefacts, result) for result in artefacts.models],
        "result_groups": _result_groups(artefacts),
        "case_table": case_table(artefacts),
        "overlap_bars": bar_chart(results, ("dice", "iou")),
        "distance_bars": bar_chart(results, ("hd95_mm",)),
        "dice_boxes": box_plot(results, "dice"),
        "distance_boxes": box_plot(results, "hd95_mm"),
        "overlays": overlays,
        "typical": next(overlay for overlay in overlays if "median" in overlay.rank),
        "curves": [(training, curve_chart(training), _cost(training)) for training in artefacts.trainings],
        "cards": [(training, flatten(training.card)) for training in artefacts.trainings],
        "versions": _versions(artefacts),
        "registration": frame_table(artefacts.registration),
        "checkerboards": _checkerboards(artefacts, params),
        "crop": frame_table(artefacts.crop),
        "num_cut": total_cut_voxels(artefacts.crop),
        "shared_subjects": _shared_subjects(artefacts),
        "commands": COMMANDS,
    }


def _summary(artefacts: Artefacts, result: Result) -> Summary:
    cells = metric_cells(artefacts.results, MEAN)[result.name]
    titles = {"dice": "Mean Dice", "iou": "MIoU", "hd95_mm": "Mean HD95"}
    figures = [
        (titles[metric.key], metric.unit, cell)
        for metric, cell in zip(METRICS, cells, strict=True)
        if metric.key in titles
    ]
    gain = ""
    if result is not artefacts.atlas and (difference := _gain(artefacts, result)) is not None:
        gain = f"{difference:+.3f} Dice against the atlas".replace("-", "−")
    colour = colour_of(artefacts.results, result.name)
    return Summary(result.title, result.name, colour, figures, gain)


def _gain(artefacts: Artefacts, result: Result) -> float | None:
    means = [method.estimates.get(("dice", MEAN)) for method in (result, artefacts.atlas)]
    model, atlas = means
    return None if model is None or atlas is None else model.mean - atlas.mean


def _verdict(artefacts: Artefacts, result: Result) -> str:
    """Say in one sentence how a model compares with registration alone, case by case."""
    ours, theirs = result.mean_dice, artefacts.atlas.mean_dice
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


def _result_groups(artefacts: Artefacts) -> list[tuple[str, str, str, list[tuple[str, list[Cell]]]]]:
    """Group the big table by structure, mean first: abbreviation, full name, colour, a row per method."""
    heads = [(MEAN, "mean of all structures", ""), *((s.abbreviation, s.name, s.colour) for s in STRUCTURES)]
    groups = []
    for name, full, colour in heads:
        cells = metric_cells(artefacts.results, name)
        groups.append(
            (name, full, colour, [(result.title, cells[result.name]) for result in artefacts.results])
        )
    return groups


def _overlays(artefacts: Artefacts, params: ReportParams) -> list[CaseOverlay]:
    """Draw best, median and worst case of the first model in params.yaml."""
    ranks = rank_cases(artefacts.models[0])
    return [case_overlay(artefacts, pair, rank, params) for pair, rank in ranks.items()]


def _checkerboards(artefacts: Artefacts, params: ReportParams) -> list[tuple[str, tuple[str, int, int]]]:
    return [
        (pair, thumbnail(path, params.checkerboard_px, params.jpeg_quality))
        for pair, path in artefacts.checkerboards.items()
    ]


def _cost(training: Training) -> str:
    """Say what training took, as far as the curves record it."""
    curve, parts = training.curve, [f"{len(training.curve)} epochs"]
    if "seconds" in curve:
        parts.append(f"{curve['seconds'].sum() / 60:.1f} minutes")
    if "samples_per_second" in curve:
        parts.append(f"{curve['samples_per_second'].median():.2g} samples a second")
    if "peak_memory_mb" in curve:
        parts.append(f"{curve['peak_memory_mb'].max() / 1024:.1f} GB at most")
    return ", ".join(parts)


def _versions(artefacts: Artefacts) -> list[tuple[str, str]]:
    """List package versions and machine facts of the first model's card."""
    card: Mapping[str, Any] = artefacts.trainings[0].card
    found = {key: card[key] for key in ("versions", "machine", "device") if key in card}
    return [(name.removeprefix("versions."), text) for name, text in flatten(found)]


def _shared_subjects(artefacts: Artefacts) -> list[str]:
    """List subjects of either modality that are in more than one role; there should be none."""
    roles = [{name for pair in pairs for name in pair.split("+")} for pairs in artefacts.split.values()]
    return sorted(name for name in set().union(*roles) if sum(name in role for role in roles) > 1)
